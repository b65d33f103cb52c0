"""Backfills as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from jobs.backfill import TO_DO, State, in_time
from lamplighter.tables import console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.backfill import BackfillPlan
    from lamplighter.backfill_run import Outcome

STALE = {*TO_DO, State.stale_code}
COLOURS = {State.current: "green", State.no_input: "yellow", State.refused: "red", State.failed: "red"}


def print_plan(plan: BackfillPlan) -> None:
    """Print what a backfill would do, partition by partition."""
    table = Table(title=f"Backfill of {plan.model}, version {plan.selector}", title_justify="left")
    table.add_column("Partition", no_wrap=True)
    table.add_column("State", no_wrap=True)
    for heading in ("Rows", "Version", "Takes"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("What would change, or why not", overflow="fold")
    for p in plan.partitions:
        colour = COLOURS.get(p.state, "cyan")
        state = f"[{colour}]{p.state.words}[/{colour}]" + (" (left out)" if p.state in STALE and not p.chosen else "")
        takes = in_time(p.seconds) if p.seconds is not None and p.chosen else "-"
        version = str(p.version) if p.version is not None else "-"
        table.add_row(p.partition, state, f"{p.rows:,}", version, takes, escape(p.why))
    console().print(table)
    console().print(escape(plan.sentence()))


def print_outcomes(model: str, outcomes: Sequence[Outcome]) -> None:
    """Print what became of each partition that was handed over."""
    table = Table("Partition", "Outcome", title=f"Backfill of {model}", title_justify="left")
    table.add_column("What was said", overflow="fold")
    for outcome in outcomes:
        word = "[green]published[/green]" if outcome.done else "[red]failed[/red]"
        table.add_row(outcome.partition, word, escape(outcome.said))
    console().print(table)
