"""`lamplighter`, the command line."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobs.errors import LamplighterError
from jobs.settings import Settings
from lamplighter import cli_jobs, cli_stack
from lamplighter.console import fail, set_up_logging
from lamplighter.parent import die_with_parent

app = typer.Typer(
    help="Lamplighter: retrain, judge, promote and score every partition, once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
cli_stack.register(app)
cli_jobs.register(app)


def main() -> None:
    """Entry point: exits 0 done, 1 retry, 2 usage, 3 rejected, 4 misconfigured."""
    die_with_parent()
    set_up_logging()
    app()


@app.command(rich_help_panel="Look")
def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False) -> None:
    """Show the stages of every model, and the partitions that are published."""
    from jobs.registry import open_registry
    from jobs.status import status as read

    settings = Settings.from_environment()
    try:
        found = read(settings, open_registry(settings))
    except LamplighterError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        from lamplighter.tables import print_status

        print_status(found)


if __name__ == "__main__":
    main()
