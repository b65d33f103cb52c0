"""Commands around the embedded stack: demo, up, down, feed."""

from __future__ import annotations

from collections.abc import Callable

import typer

from jobs.errors import LamplighterError
from jobs.settings import Settings
from lamplighter import stack
from lamplighter.console import fail


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (demo, up, down, feed):
        app.command(rich_help_panel="Run")(command)


def _honestly(work: Callable[[Settings], None]) -> None:
    try:
        work(Settings.from_environment())
    except LamplighterError as error:
        fail(error)


def demo(days: int = typer.Option(7, min=2, max=31, help="How many days the backfill scores.")) -> None:
    """Run the nightly loop on real flights, and leave both user interfaces up."""
    from lamplighter.demo import demo as run
    from lamplighter.tables import console

    _honestly(lambda settings: run(settings, console(), days))


def up() -> None:
    """Start MLflow and Airflow on loopback, and wait until they are healthy."""

    def work(settings: Settings) -> None:
        stack.check_disk(settings)
        running = stack.up(settings, typer.echo)
        typer.echo(f"Airflow {running.airflow_url} (user {stack.USER}, password {stack.PASSWORD})")
        typer.echo(f"MLflow  {running.mlflow_url}")

    _honestly(work)


def down() -> None:
    """Stop what `up` or `demo` started."""
    _honestly(lambda settings: typer.echo("Stopped." if stack.down(settings) else "Nothing was running."))


def feed(model: str = typer.Option(..., "--model", help="Name of a folder under models/ with a feed.py.")) -> None:
    """Lay out a model's example data as partitions."""
    from jobs.feed import lay_out_feed

    def work(settings: Settings) -> None:
        written = lay_out_feed(settings, model)
        typer.echo(f"{written} partitions were laid out." if written else "The partitions are there already.")

    _honestly(work)
