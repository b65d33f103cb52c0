"""Lineage as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from lamplighter.tables import console

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobs.lineage import Leaning, Lineage
    from jobs.snapshot import SnapshotPart
    from jobs.table import Publication


def print_lineage(found: Lineage) -> None:
    """Print what a publication rests on, from the score back to the rows that were learned from."""
    p = found.publication
    table = Table("", "", title=f"Lineage of {p.model} {p.partition}", title_justify="left", show_header=False)
    for name, value in _lines(found):
        table.add_row(name, escape(value))
    console().print(table)


def print_leaning(model: str, partition: str, found: Sequence[Leaning]) -> None:
    """Print every version that leans on a partition, and every publication of each."""
    if not found:
        console().print(f"No version of {model} was trained or evaluated on {partition}.")
        return
    table = Table(title=f"What leans on {model} {partition}", title_justify="left")
    for heading in ("Version", "As", "Its rows", "Published", "Table version", "Scored rows", "Readers see it"):
        table.add_column(heading, overflow="fold")
    for one in found:
        head = (str(one.version.number), one.role, f"{one.part.rows:,}" if one.part else "not known")
        for reach in one.publications:
            p = reach.publication
            seen = "yes" if reach.current else "no, replaced since"
            table.add_row(*head, p.partition, str(p.table_version), f"{p.rows_scored:,}", seen)
        if not one.publications:
            table.add_row(*head, "nothing", "-", "-", "-")
    console().print(table)


def _lines(found: Lineage) -> Iterator[tuple[str, str]]:
    p, version = found.publication, found.version
    if found.row is not None:
        yield "Row", found.row.sentence
    yield "Published", _publication(p)
    source = f" (version {p.source_version} of the source)" if p.source_version is not None else ""
    yield "Scored by", f"{p.engine}, run {p.run}, on input {p.input_digest[:12]}{source} with code {p.code[:12]}"
    if found.replaced_by is not None:
        yield "Replaced since", _publication(found.replaced_by)
    for earlier in reversed(found.earlier):
        yield "It replaced", _publication(earlier)
    yield "Version", f"{version.number}, digest {version.digest[:12]}, retrained for {version.partition}"
    yield "In production", _promotion(found)
    yield "Report", found.report.verdict() if found.report else "the version has not been judged"
    yield "MLflow run", version.mlflow_run_id
    yield "Window", f"{version.trained_from:%Y-%m-%d %H:%M} to {version.trained_until:%Y-%m-%d %H:%M} UTC"
    if found.snapshot is not None:
        yield "Trained on", _parts(found.snapshot.training)
        yield "Evaluated on", _parts(found.snapshot.holdout)
        yield "Snapshot", found.snapshot.digest[:12]
    for note in found.notes:
        yield "Note", note
    yield "Model's code", version.code[:12] or "not kept"
    if found.environment is not None:
        packages = (f"{name} {number}" for name, number in found.environment.packages.items())
        yield "Fitted by", f"{found.environment.code}, Python {found.environment.python}, {', '.join(packages)}"


def _publication(p: Publication) -> str:
    at = f"{p.published_at:%Y-%m-%d %H:%M} UTC" if p.published_at else "at an unknown time"
    rows = f"{p.rows_scored:,} rows, {p.rows_rejected:,} rejected"
    return f"{at} as table version {p.table_version} by version {p.version}: {rows}"


def _promotion(found: Lineage) -> str:
    move = found.promotion
    if move is None:
        return "it was not: its number was asked for"
    return f"from {move.effective_from:%Y-%m-%d %H:%M} UTC on, by {move.actor}: {move.reason}"


def _parts(parts: Sequence[SnapshotPart]) -> str:
    rows = sum(part.rows for part in parts)
    return f"{parts[0].partition} to {parts[-1].partition}: {rows:,} rows of {len(parts)} partitions"
