"""Tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jobs.decisions import KeptBack
from jobs.metrics import in_words
from lamplighter.doctor import State

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jobs.decisions import VersionHistory
    from jobs.performance import Performance
    from jobs.table import Publication
    from lamplighter.doctor import Finding
    from model_registry.store import Version
    from model_registry.timeline import Promotion


WIDTH = 140


def console() -> Console:
    """Where tables go: as wide as the terminal, and wide enough where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what `lamplighter doctor` found."""
    colours = {State.fine: "green", State.note: "yellow", State.fault: "red"}
    table = Table("", "Found", "What to do", title="Doctor", title_justify="left")
    for finding in findings:
        colour = colours[finding.state]
        table.add_row(finding.subject, f"[{colour}]{escape(finding.found)}[/{colour}]", escape(finding.remedy))
    console().print(table)


def print_history(model: str, rows: Sequence[Promotion], refused: KeptBack | None = None) -> None:
    """Print moves of a model's versions, oldest first, and what was kept back since."""
    table = Table(title=f"History of {model}", title_justify="left", show_lines=True)
    for heading in ("Move", "In force from (UTC)", "Recorded (UTC)", "By", "Why", "Evidence"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        since, recorded = (f"{instant:%Y-%m-%d %H:%M}" for instant in (row.effective_from, row.recorded_at))
        until = f"\nuntil {row.until:%Y-%m-%d %H:%M}" if row.until else ""
        actor = f"{row.actor}, approved by {row.approved_by}" if row.approved_by else row.actor
        instead = f" for {row.replaces}" if row.replaces else ""
        move = f"{row.kind}: version {row.version}{instead} in {row.stage}"
        evidence = row.evidence[:12] if row.evidence else "none"
        table.add_row(move, f"{since}{until}", recorded, escape(actor), escape(row.reason), evidence)
    console().print(table if rows else f"Nothing is recorded about {model} for that time.")
    if refused is not None:
        console().print(f"Since then {refused.sentence()}.")


def print_status(found: Mapping[str, Any]) -> None:
    """Print what `lamplighter status` found."""
    table = Table(
        "Model", "Stages", "Published partitions", "Newest", "By version", title="Status", title_justify="left"
    )
    for name, model in found["models"].items():
        stages = ", ".join(_stage(model, stage) for stage in model["stages"]) or "none"
        if "kept_back" in model:
            stages += f"\n{KeptBack(**model['kept_back']).sentence()}"
        partitions = model["partitions"]
        newest = max(partitions, default=None)
        version = str(partitions[newest]["version"]) if newest else "-"
        count = str(len(partitions)) + (f", {len(model['altered'])} altered since" if "altered" in model else "")
        table.add_row(name, stages, count, newest or "-", version)
    console().print(table)
    for name, model in found["models"].items():
        for partition, said in model.get("altered", {}).items():
            console().print(escape(f"{name} {partition}: {said}"))


def _stage(model: Mapping[str, Any], stage: str) -> str:
    semver = f" ({model['semver'][stage]})" if stage in model.get("semver", {}) else ""
    override = f", by an override {model['override']}" if stage == "production" and "override" in model else ""
    return escape(f"{stage} {model['stages'][stage]}{semver}{override}")


def decisions_table(histories: Sequence[VersionHistory]) -> Table:
    """Every version: for which partition, what its gate said, and what came of it."""
    table = Table(
        "Version", "Retrained for", "Metric gate", "Outcome", title="Decisions", title_justify="left", show_lines=True
    )
    for history in histories:
        checks = history.decision.report.checks if history.decision else ()
        said = "\n".join(check.brief() for check in checks) or "not judged"
        table.add_row(_called(history.version), history.version.partition, said, history.outcome())
    return table


def _called(version: Version) -> str:
    return f"{version.number} ({version.semver})" if version.semver else str(version.number)


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
