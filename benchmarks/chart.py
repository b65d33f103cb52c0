"""The chart of `make bench`: rows per second of every design, ours beside the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

OURS, OTHERS, BEST = "#d97706", "#64748b", "#cbd5e1"


def draw(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], path: Path) -> None:
    """A panel for each model, the fastest design on top."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, panels = plt.subplots(1, len(models), figsize=(6 * len(models), 4.5), squeeze=False, layout="constrained")
    for panel, model in zip(panels[0], models, strict=True):
        mine = sorted((row for row in rows if row["model"] == model), key=lambda row: row["rows_per_s"])
        speeds = [row["rows_per_s"] / 1e6 for row in mine]
        bars = panel.barh([row["design"] for row in mine], speeds, color=[_colour(row["design"]) for row in mine])
        panel.bar_label(bars, [_label(row) for row in mine], padding=3)
        panel.set(title=model, xlabel="million rows per second, warm", xlim=(0, max(speeds) * 1.35))
        panel.spines[["top", "right"]].set_visible(False)
    count = f"{rows[0]['rows']:,} rows, {about['cores']} cores of {about['processor']}, {about['at']}"
    figure.suptitle(f"A partition scored and published: {count}", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def draw_growth(rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any], path: Path) -> None:
    """Seconds and memory over the rows of a partition, a column of panels for each model."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    models, designs = (list(dict.fromkeys(row[name] for row in rows)) for name in ("model", "design"))
    figure, panels = plt.subplots(2, len(models), figsize=(6 * len(models), 7), squeeze=False, layout="constrained")
    for column, model in enumerate(models):
        for design in designs:
            mine = sorted((r for r in rows if (r["model"], r["design"]) == (model, design)), key=lambda r: r["rows"])
            counts = [row["rows"] for row in mine]
            style = {"marker": "o", "linestyle": "--" if "one core" in design else "-", "label": design}
            panels[0][column].loglog(counts, [row["warm_s_median"] for row in mine], **style)
            panels[1][column].semilogx(counts, [row["peak_mb"] for row in mine], **style)
        panels[0][column].set(title=model, ylabel="seconds, warm")
        panels[1][column].set(xlabel="rows of the partition", ylabel="MB of the whole process tree", ylim=(0, None))
        panels[0][column].legend()
        for panel in panels[:, column]:
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{about['cores']} cores of {about['processor']}, {about['at']}", fontsize=10)
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _colour(design: str) -> str:
    if design == "limit":
        return BEST
    return OURS if design.startswith("lamplighter") else OTHERS


def _label(row: Mapping[str, Any]) -> str:
    stock = f" ({row['over_stock']:.3g}x)" if row["over_stock"] else ""
    return f"{row['rows_per_s'] / 1e6:.2f}{stock}"
