"""A restatement as a picture: scores before and after, how far they moved, and the rows that moved most."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from jobs.diff import Diff

BEFORE, AFTER = "#8d99ae", "#33658a"


def picture(found: Diff) -> bytes:
    """The difference as PNG: three panels side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 4.8), dpi=110, layout="constrained")
    scores, changes, movers = figure.subplots(1, 3)
    _scores(scores, found)
    _changes(changes, found)
    _movers(movers, found)
    figure.suptitle(found.sentence(), fontsize=10)
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def _scores(axes: Axes, found: Diff) -> None:
    for side, histogram, colour, name in (
        (found.before, found.scores_before, BEFORE, found.sides[0]),
        (found.after, found.scores_after, AFTER, found.sides[1]),
    ):
        label = f"{name}: version {side.version}, {sum(histogram.counts):,} rows"
        axes.stairs(histogram.counts, histogram.edges, color=colour, linewidth=2, label=label, fill=colour == BEFORE)
    axes.set(xlabel="Score", ylabel="Rows", title="Scores")
    axes.legend()


def _changes(axes: Axes, found: Diff) -> None:
    axes.set(
        xlabel=f"{found.sides[1]} minus {found.sides[0]}".capitalize(),
        ylabel="Rows",
        title=f"Changes of {found.rows_changed:,} rows",
    )
    if found.changes is None:
        axes.text(0.5, 0.5, "No score changed", ha="center", transform=axes.transAxes)
        return
    axes.stairs(found.changes.counts, found.changes.edges, color=AFTER, fill=True)
    axes.axvline(0, color="grey", linestyle=":")


def _movers(axes: Axes, found: Diff) -> None:
    axes.set(xlabel="Score", title="Largest movers")
    movers = found.movers[::-1]
    for height, mover in enumerate(movers):
        axes.annotate(
            "", (mover.after, height), (mover.before, height), arrowprops={"arrowstyle": "->", "color": AFTER}
        )
        axes.plot([mover.before, mover.after], [height, height], linestyle="", marker=".", color=BEFORE)
    axes.set_yticks(range(len(movers)), [" ".join(mover.key)[:30] for mover in movers])
