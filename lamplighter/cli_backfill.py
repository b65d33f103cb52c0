"""`lamplighter backfill`: what a backfill would do, and doing it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.backfill import TO_DO, State
from jobs.errors import LamplighterError, Rejected
from jobs.settings import Settings
from lamplighter.backfill_run import Assets
from lamplighter.console import fail
from model_registry.codec import to_plain

if TYPE_CHECKING:
    from jobs.backfill import BackfillPlan
    from jobs.spec import ModelSpec

app = typer.Typer(help="Plan a backfill, and hand it to Airflow.", no_args_is_help=True)
Model = Annotated[str, typer.Argument(help="Name of a folder under models/.")]
First = Annotated[str, typer.Option("--from", help="Key of the first partition, like 2013-03-01.")]
Last = Annotated[str, typer.Option("--to", help="Key of the last partition, included.")]
Selector = Annotated[
    str, typer.Option("--version", help="as-of (each partition's start), production (now), a number, or like 1.2.0.")
]
Only = Annotated[
    list[State] | None, typer.Option("--only", help="Only partitions that are in this state, too; repeat for more.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for machines.")]


def register(into: typer.Typer) -> None:
    """Add the commands to the command line."""
    into.add_typer(app, name="backfill", rich_help_panel="Run")


@app.command()
def plan(
    model: Model,
    first: First,
    last: Last,
    version: Selector = "as-of",
    only: Only = None,
    as_json: AsJson = False,
) -> None:
    """Show which partitions are missing, failed or stale, how many rows, how long, and what would change."""
    from lamplighter.backfill_run import by_hand
    from lamplighter.tables_backfill import print_plan

    settings = Settings.from_environment()
    try:
        found = _plan(settings, model, first, last, version, only)
        lines = by_hand(_spec(settings, model), found)
    except LamplighterError as error:
        fail(error)
    if as_json:
        more = {"rows": found.rows, "seconds": found.seconds, "sentence": found.sentence(), "by_hand": lines}
        typer.echo(json.dumps(to_plain(found) | more, indent=2, ensure_ascii=False))
        return
    print_plan(found)
    typer.echo("\n".join(lines))


@app.command()
def run(
    model: Model,
    first: First,
    last: Last,
    version: Selector = "as-of",
    only: Only = None,
    assets: Annotated[
        Assets, typer.Option(help="Whether DAGs downstream are told once at the end, never, or of each partition.")
    ] = Assets.once,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Partitions at a time, in Airflow.")] = 4,
    without_airflow: Annotated[bool, typer.Option("--without-airflow", help="Score here and now instead.")] = False,
    as_json: AsJson = False,
) -> None:
    """Hand exactly the partitions of the plan to Airflow's backfill, wait, and tell what became of each."""
    from lamplighter.backfill_run import run_here, run_in_airflow
    from lamplighter.connection import connect
    from lamplighter.tables_backfill import print_outcomes

    settings = Settings.from_environment()
    try:
        found = _plan(settings, model, first, last, version, only)
        typer.echo(found.sentence(), err=as_json)
        if not found.chosen:
            outcomes = []
        elif without_airflow:
            outcomes = run_here(settings, found, f"backfill {datetime.now(UTC):%Y%m%dT%H%M%S}", _say)
        else:
            with connect(settings) as api:
                outcomes = run_in_airflow(api, _spec(settings, model), found, assets, parallel, _say)
    except LamplighterError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps([to_plain(outcome) for outcome in outcomes], indent=2, ensure_ascii=False))
    elif outcomes:
        print_outcomes(model, outcomes)
    failed = [outcome.partition for outcome in outcomes if not outcome.done]
    if failed:
        fail(Rejected(f"{len(failed)} of {len(outcomes)} partitions were not published: {', '.join(failed[:10])}."))


def _plan(
    settings: Settings, model: str, first: str, last: str, version: str, only: list[State] | None
) -> BackfillPlan:
    from jobs.backfill import plan_backfill
    from jobs.registry import open_registry

    return plan_backfill(settings, open_registry(settings), model, first, last, version, only or TO_DO)


def _spec(settings: Settings, model: str) -> ModelSpec:
    from jobs.spec_file import load_spec

    return load_spec(settings.models, model)


def _say(text: str) -> None:
    typer.echo(text, err=True)
