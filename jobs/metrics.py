"""The metrics of a task: scores against targets, as plain numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

Vector = np.ndarray[Any, np.dtype[np.float64]]


def measure(task: str, target: Vector, score: Vector) -> dict[str, float]:
    """The metrics of a task (`classification` or `regression`) for n targets and n scores.

    A metric that the rows cannot give (one class only, for instance) is left out.
    """
    return _classification(target, score) if task == "classification" else _regression(target, score)


def _classification(target: Vector, score: Vector) -> dict[str, float]:
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    found = {
        "log_loss": float(log_loss(target, score, labels=[0.0, 1.0])),
        "brier": float(brier_score_loss(target, score, pos_label=1.0)),
    }
    if len(np.unique(target)) == 2:
        found["auc"] = float(roc_auc_score(target, score))
        found["average_precision"] = float(average_precision_score(target, score))
    return found


def _regression(target: Vector, score: Vector) -> dict[str, float]:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    found = {
        "rmse": float(root_mean_squared_error(target, score)),
        "mae": float(mean_absolute_error(target, score)),
    }
    if len(target) > 1:
        found["r2"] = float(r2_score(target, score))
    return found


def in_words(metrics: Mapping[str, float]) -> str:
    """Metrics as a line for a person."""
    return ", ".join(f"{name} {value:.4g}" for name, value in sorted(metrics.items()))
