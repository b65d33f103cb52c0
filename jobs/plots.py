"""Pictures of a candidate on its holdout, as PNG: ROC or residuals, calibration, feature importance."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from jobs.measure import Scored
    from jobs.metrics import Vector
    from jobs.predictor import Predictor

IMPORTANCE_ROWS = 3_000


def training_plots(
    task: str, predictor: Predictor, features: pd.DataFrame, target: Vector, score: Vector, seed: int
) -> dict[str, bytes]:
    """PNG images by name for n rows of features, targets and scores."""
    plots = {"calibration": _picture(lambda axes: _calibration(axes, target, score))}
    if task == "classification":
        plots["roc"] = _picture(lambda axes: _roc(axes, target, score))
    else:
        plots["residuals"] = _picture(lambda axes: _residuals(axes, target, score))
    importance = permutation_importance(predictor, features, target, seed)
    plots["feature-importance"] = _picture(lambda axes: _importance(axes, importance))
    return plots


def permutation_importance(predictor: Predictor, features: pd.DataFrame, target: Vector, seed: int) -> dict[str, float]:
    """How much the squared error grows when a feature is shuffled (Breiman 2001), over at most 3,000 rows.

    The squared error serves every task: of a probability it is the Brier score.
    """
    random = np.random.default_rng(seed)
    rows = random.permutation(len(features))[:IMPORTANCE_ROWS]
    sample, truth = features.iloc[rows].reset_index(drop=True), target[rows]
    base = float(np.mean((predictor.score(sample) - truth) ** 2))
    found = {}
    for name in features.columns:
        shuffled = sample.assign(**{name: sample[name].to_numpy()[random.permutation(len(sample))]})
        found[name] = float(np.mean((predictor.score(shuffled) - truth) ** 2)) - base
    return found


def _picture(draw: Any) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4.5), dpi=110, layout="constrained")
    draw(figure.subplots())
    out = io.BytesIO()
    figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def comparison_plots(task: str, scored: Scored) -> dict[str, bytes]:
    """PNG images by name: candidate and champion (if any) on the same rows, and what changes between them."""
    both = {"candidate": scored.candidate} | ({"champion": scored.champion} if scored.champion is not None else {})

    def curves(axes: Axes) -> None:
        for name, score in both.items():
            (_roc if task == "classification" else _error_curve)(axes, scored.target, score, name)

    def calibration(axes: Axes) -> None:
        for name, score in both.items():
            _calibration(axes, scored.target, score, name)

    plots = {"roc" if task == "classification" else "errors": _picture(curves), "calibration": _picture(calibration)}
    champion = scored.champion
    if champion is not None:
        plots["changed"] = _picture(lambda axes: _changed(axes, champion, scored.candidate))
        plots["changes"] = _picture(lambda axes: _changes(axes, scored.candidate - champion))
    return plots


def _changed(axes: Axes, champion: Vector, candidate: Vector) -> None:
    axes.hexbin(champion, candidate, gridsize=50, mincnt=1, bins="log", cmap="viridis")
    span = [float(min(champion.min(), candidate.min())), float(max(champion.max(), candidate.max()))]
    axes.plot(span, span, linestyle=":", color="grey")
    axes.set(xlabel="Score by the champion", ylabel="Score by the candidate", title="Changed predictions")


def _changes(axes: Axes, change: Vector) -> None:
    axes.hist(change, bins=60, color="#33658a")
    axes.axvline(0, color="grey", linestyle=":")
    largest = float(np.abs(change).max())
    axes.set(xlabel=f"Candidate minus champion (largest {largest:.3g})", ylabel="Rows", title="Size of the changes")


def _error_curve(axes: Axes, target: Vector, score: Vector, name: str) -> None:
    errors = np.sort(np.abs(score - target))
    axes.plot(errors, np.linspace(0, 1, len(errors)), label=f"{name}, mean {errors.mean():.3g}")
    axes.set(xlabel="Absolute error", ylabel="Share of rows with at most that", title="Errors on the holdout")
    axes.legend(loc="lower right")


def _roc(axes: Axes, target: Vector, score: Vector, name: str = "model") -> None:
    from sklearn.metrics import roc_auc_score, roc_curve

    if len(np.unique(target)) < 2:
        axes.set(title="ROC: the holdout has one class only")
        return
    false, true, _ = roc_curve(target, score)
    axes.plot(false, true, label=f"{name}, AUC {roc_auc_score(target, score):.3f}")
    axes.plot([0, 1], [0, 1], linestyle=":", color="grey")
    axes.set(xlabel="False positive rate", ylabel="True positive rate", title="ROC on the holdout")
    axes.legend(loc="lower right")


def _residuals(axes: Axes, target: Vector, score: Vector) -> None:
    axes.hexbin(score, target - score, gridsize=50, mincnt=1, bins="log", cmap="viridis")
    axes.axhline(0, color="grey", linestyle=":")
    axes.set(xlabel="Score", ylabel="Target minus score", title="Residuals on the holdout")


def _calibration(axes: Axes, target: Vector, score: Vector, name: str = "holdout") -> None:
    """Mean target against mean score in ten bins of equal size."""
    bins = np.array_split(np.argsort(score, kind="stable"), min(10, len(score)))
    mean_score, mean_target = ([float(np.mean(v[b])) for b in bins] for v in (score, target))
    axes.plot(mean_score, mean_target, marker="o", label=name)
    span = [min(mean_score + mean_target), max(mean_score + mean_target)]
    axes.plot(span, span, linestyle=":", color="grey")
    axes.set(xlabel="Mean score", ylabel="Mean target", title="Calibration on the holdout")
    axes.legend(loc="upper left")


def _importance(axes: Axes, importance: dict[str, float]) -> None:
    ranked = sorted(importance.items(), key=lambda entry: entry[1])[-20:]
    axes.barh([name for name, _ in ranked], [value for _, value in ranked])
    axes.set(xlabel="Growth of the squared error when shuffled", title="Feature importance on the holdout")
