"""Tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.metrics import in_words
from lamplighter.doctor import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobs.decisions import VersionHistory
    from jobs.performance import Performance
    from jobs.table import Publication
    from lamplighter.doctor import Finding
    from model_registry.ledger import Promotion


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what `lamplighter doctor` found."""
    colours = {State.fine: "green", State.note: "yellow", State.fault: "red"}
    table = Table("", "Found", "What to do", title="Doctor", title_justify="left")
    for finding in findings:
        colour = colours[finding.state]
        table.add_row(finding.subject, f"[{colour}]{escape(finding.found)}[/{colour}]", escape(finding.remedy))
    Console().print(table)


def print_history(model: str, rows: Sequence[Promotion]) -> None:
    """Print moves of a model's versions, oldest first."""
    table = Table(title=f"History of {model}", title_justify="left")
    for heading in ("Stage", "Version", "In force from", "Recorded", "By", "Why", "Evidence"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        instants = (f"{instant:%Y-%m-%d %H:%M}" for instant in (row.effective_from, row.recorded_at))
        evidence = row.evidence[:12] if row.evidence else "none"
        table.add_row(row.stage, str(row.version), *instants, escape(row.actor), escape(row.reason), evidence)
    Console().print(table if rows else f"Nothing is recorded about {model} for that time.")


def print_status(found: Mapping[str, Any]) -> None:
    """Print what `lamplighter status` found."""
    table = Table(
        "Model", "Stages", "Published partitions", "Newest", "By version", title="Status", title_justify="left"
    )
    for name, model in found["models"].items():
        stages = ", ".join(f"{stage} {version}" for stage, version in model["stages"].items()) or "none"
        partitions = model["partitions"]
        newest = max(partitions, default=None)
        version = str(partitions[newest]["version"]) if newest else "-"
        table.add_row(name, stages, str(len(partitions)), newest or "-", version)
    Console().print(table)


def decisions_table(histories: Sequence[VersionHistory]) -> Table:
    """Every version: for which partition, what its gate said, and what came of it."""
    table = Table(
        "Version", "Retrained for", "Metric gate", "Outcome", title="Decisions", title_justify="left", show_lines=True
    )
    for history in histories:
        checks = history.report.checks if history.report else ()
        said = "\n".join(check.sentence() for check in checks) or "not judged"
        table.add_row(str(history.version.number), history.version.partition, said, history.outcome())
    return table


def partitions_table(published: Mapping[str, Publication], performances: Mapping[str, Performance]) -> Table:
    """Every published partition: its rows, its version, and how good the scores were once the labels came in."""
    table = Table("Partition", title="Published partitions", title_justify="left")
    for heading in ("Rows in", "Scored", "Rejected", "Version"):
        table.add_column(heading, justify="right")
    table.add_column("Once the labels were known")
    for key, publication in sorted(published.items()):
        figures = (publication.rows_in, publication.rows_scored, publication.rows_rejected, publication.version)
        known = performances.get(key)
        quality = f"{in_words(known.metrics)} ({known.rows:,} rows)" if known and known.rows else "no labels yet"
        table.add_row(key, *(f"{figure:,}" for figure in figures), quality)
    return table
