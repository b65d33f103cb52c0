"""A restatement as tables for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from lamplighter.tables import console

if TYPE_CHECKING:
    from jobs.diff import Diff
    from jobs.table import Publication


def print_diff(found: Diff) -> None:
    """Print what changed between two publications of a partition."""
    out = console()
    out.print(escape(found.sentence()))
    headings = [name.capitalize() for name in found.sides]
    sides = Table("", *headings, title="Publications", title_justify="left")
    for (name, before), (_, after) in zip(_about(found.before), _about(found.after), strict=True):
        sides.add_row(name, before, after if after == before else f"[bold]{escape(after)}[/bold]")
    out.print(sides)
    scores = Table("Score", title="Distribution of the scores", title_justify="left")
    for heading in headings:
        scores.add_column(heading, justify="right")
    edges = found.scores_before.edges
    counts = zip(edges, edges[1:], found.scores_before.counts, found.scores_after.counts, strict=False)
    for low, high, old, new in counts:
        scores.add_row(f"{low:.4g} to {high:.4g}", f"{old:,}", f"{new:,}")
    out.print(scores)
    if found.quantiles:
        changes = Table(
            "Share of the changed rows",
            title=f"Changes ({found.sides[1]} minus {found.sides[0]})",
            title_justify="left",
        )
        changes.add_column("Changed by at most", justify="right")
        for share, value in found.quantiles.items():
            changes.add_row(f"{float(share):.0%}", f"{value:+.6g}")
        out.print(changes)
        _print_movers(found)
    for name, rows in (("Newly rejected", found.newly_rejected), ("No longer rejected", found.no_longer_rejected)):
        if rows:
            out.print(f"{name}: {', '.join(f'{escape(reason)} {count:,}' for reason, count in rows.items())}")


def _print_movers(found: Diff) -> None:
    movers = Table("Row", title="Largest movers", title_justify="left")
    for heading in (*(name.capitalize() for name in found.sides), "Change"):
        movers.add_column(heading, justify="right")
    for mover in found.movers:
        movers.add_row(escape(" ".join(mover.key)), f"{mover.before:.6g}", f"{mover.after:.6g}", f"{mover.change:+.6g}")
    console().print(movers)


def _about(p: Publication) -> list[tuple[str, str]]:
    return [
        ("Table version", str(p.table_version)),
        ("Published", f"{p.published_at:%Y-%m-%d %H:%M:%S} UTC" if p.published_at else "at an unknown time"),
        ("Version", f"{p.version}, digest {p.digest[:12]}"),
        ("Input", p.input_digest[:12]),
        ("Code", p.code[:12]),
        ("Rows in, scored, rejected", f"{p.rows_in:,}, {p.rows_scored:,}, {p.rows_rejected:,}"),
        ("Mean score", f"{p.score_mean:.6g}" if p.score_mean is not None else "-"),
        ("Engine", p.engine),
    ]
