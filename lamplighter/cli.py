"""`lamplighter`, the command line."""

from __future__ import annotations

import typer

from jobs.faults import listen_for_faults
from lamplighter import cli_answers, cli_backfill, cli_jobs, cli_look, cli_registry, cli_stack
from lamplighter.console import set_up_logging
from lamplighter.parent import die_with_parent

app = typer.Typer(
    help="Lamplighter: retrain, judge, promote and score every partition, once.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
cli_stack.register(app)
cli_jobs.register(app)
cli_registry.register(app)
cli_look.register(app)
cli_answers.register(app)
cli_backfill.register(app)


def main() -> None:
    """Entry point: exits 0 done, 1 retry, 2 usage, 3 rejected, 4 misconfigured."""
    die_with_parent()
    listen_for_faults()
    set_up_logging()
    app()


if __name__ == "__main__":
    main()
