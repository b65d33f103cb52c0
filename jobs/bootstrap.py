"""How sure a metric is: the paired bootstrap over holdout rows.

Rows are drawn with replacement, the same ones for candidate and champion, and each metric is computed anew from how
often each row was drawn. Bounds are one-sided bias-corrected percentiles (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapters 14 and 16). The seed fixes every draw.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from model_registry.rules import Estimate

Array = np.ndarray[Any, np.dtype[np.float64]]
Statistic = Callable[[Array], Array]
REPLICATES = 1000
FEWEST_REPLICATES = 200
WORK = 200_000_000  # drawn rows in all, above which there are fewer replicates
CHUNK = 4_000_000
FEWEST_BEYOND = 5
MISSING = 0.05  # largest share of replicates in which a metric may be undefined


@dataclass(frozen=True)
class Draws:
    """How often each of `rows` rows was drawn, in each of `replicates` draws, some draws at a time."""

    rows: int
    seed: int
    name: str = ""

    @property
    def replicates(self) -> int:
        """1,000, and down to 200 where the rows are very many and the bounds are tight anyway."""
        return int(np.clip(WORK // max(self.rows, 1), FEWEST_REPLICATES, REPLICATES))

    def counts(self) -> Iterator[Array]:
        """Matrices of shape (draws, rows)."""
        random = np.random.default_rng([self.seed, zlib.crc32(self.name.encode())])
        at_once = max(1, CHUNK // max(self.rows, 1))
        for start in range(0, self.replicates, at_once):
            size = min(at_once, self.replicates - start)
            counts = np.empty((size, self.rows))
            for row in counts:
                row[:] = np.bincount(random.integers(0, self.rows, self.rows), minlength=self.rows)
            yield counts


def replicate(statistics: list[Statistic], draws: Draws) -> list[Array]:
    """Every statistic's value on the rows themselves, followed by its values on all draws; shape (1 + replicates,)."""
    found: list[list[Array]] = [[statistic(np.ones((1, draws.rows)))] for statistic in statistics]
    for counts in draws.counts():
        for values, statistic in zip(found, statistics, strict=True):
            values.append(statistic(counts))
    return [np.concatenate(values) for values in found]


def estimate(values: Array, confidence: float) -> Estimate:
    """Value and one-sided bounds from what `replicate` gives; not-a-number when the metric is undefined too often.

    Where too few replicates lie beyond a bound to place it, it comes from their standard deviation. A confidence of a
    half asks for the value itself.
    """
    value, drawn = float(values[0]), values[1:]
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(known) < (1 - MISSING) * len(drawn):
        return Estimate.exact(float("nan"))
    if confidence <= 0.5:
        return Estimate.exact(value)
    normal = NormalDist()
    if (1 - confidence) * len(known) < FEWEST_BEYOND:
        reach = normal.inv_cdf(confidence) * float(np.std(known))
        return Estimate(value, value - reach, value + reach)
    shift = 2 * normal.inv_cdf(_share_below(known, value))
    low, high = (
        float(np.quantile(known, normal.cdf(shift + normal.inv_cdf(level)))) for level in (1 - confidence, confidence)
    )
    return Estimate(value, min(low, value), max(high, value))


def _share_below(known: Array, value: float) -> float:
    edge = 0.5 / len(known)
    return float(np.clip((np.sum(known < value) + np.sum(known == value) / 2) / len(known), edge, 1 - edge))


def proportion(share: float, rows: int, confidence: float) -> Estimate:
    """The share of some rows with one-sided bounds by the score interval (Wilson 1927).

    A bootstrap would be certain of a share that it never saw: none in 100 rows may be 2 % in truth.
    """
    z = NormalDist().inv_cdf(confidence)
    middle = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    reach = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return Estimate(share, min(share, max(0.0, middle - reach)), max(share, min(1.0, middle + reach)))


def statistic(metric: str, target: Array, score: Array) -> Statistic:
    """The metric of n scores against n targets, as a function from how often each row counts. Raises KeyError.

    Where a score is no finite number, no metric is: a sort would take it for the highest of all.
    """
    if not (np.isfinite(score).all() and np.isfinite(target).all()):
        return lambda counts: np.full(len(counts), np.nan)
    return _STATISTICS[metric](target, score)


def mean_of(values: Array) -> Statistic:
    """The mean of n values."""
    return lambda counts: (counts @ values) / counts.sum(axis=1)


def _log_loss(target: Array, score: Array) -> Statistic:
    tiny = np.finfo(np.float64).eps
    sure = np.clip(score, tiny, 1 - tiny)
    return mean_of(-(target * np.log(sure) + (1 - target) * np.log1p(-sure)))


def _squared(target: Array, score: Array) -> Statistic:
    return mean_of((score - target) ** 2)


def _rmse(target: Array, score: Array) -> Statistic:
    squared = _squared(target, score)
    return lambda counts: np.sqrt(squared(counts))


def _r2(target: Array, score: Array) -> Statistic:
    centred = target - target.mean()  # numbers far from zero would leave nothing of the difference of squares
    squared, mean, square = _squared(target, score), mean_of(centred), mean_of(centred**2)

    def value(counts: Array) -> Array:
        variance = square(counts) - mean(counts) ** 2
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(variance > 0, 1 - squared(counts) / variance, np.nan)

    return value


def _groups(score: Array, *, descending: bool) -> tuple[Any, Any]:
    """The order of the rows by score, and where in it each run of equal scores begins."""
    order = np.argsort(-score if descending else score, kind="stable")
    ranked = score[order]
    return order, np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])


def _auc(target: Array, score: Array) -> Statistic:
    """The area under the ROC curve as the chance that a positive outranks a negative, ties half (Hanley 1982)."""
    order, starts = _groups(score, descending=False)
    positive = target[order]

    def value(counts: Array) -> Array:
        ranked = counts[:, order]
        ups = np.add.reduceat(ranked * positive, starts, axis=1)
        downs = np.add.reduceat(ranked * (1 - positive), starts, axis=1)
        lower = np.cumsum(downs, axis=1) - downs
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pairs > 0, (ups * (lower + downs / 2)).sum(axis=1) / pairs, np.nan)

    return value


def _average_precision(target: Array, score: Array) -> Statistic:
    order, starts = _groups(score, descending=True)
    positive = target[order]

    def value(counts: Array) -> Array:
        ranked = counts[:, order]
        ups = np.add.reduceat(ranked * positive, starts, axis=1)
        seen = np.cumsum(np.add.reduceat(ranked, starts, axis=1), axis=1)
        total = ups.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            precision = np.where(seen > 0, np.cumsum(ups, axis=1) / seen, 0.0)
            return np.where(total > 0, (ups * precision).sum(axis=1) / total, np.nan)

    return value


def _calibration_error(target: Array, score: Array) -> Statistic:
    """The root mean square distance of mean target and mean score over ten bins of equal size, less what chance adds.

    Without the last part (Kumar, Liang and Ma 2019) a perfect score would show an error, and the larger the fewer rows.
    Where chance would add more than there is, the root is taken of the lack, and is below zero: cut off at zero, the
    better of two models would look nearer to the worse one than it is.
    """
    order = np.argsort(score, kind="stable")
    starts = np.unique(np.linspace(0, len(score), min(10, len(score)), endpoint=False).astype(int))
    off = (target - score)[order]

    def in_bins(values: Array) -> Array:
        found: Array = np.add.reduceat(values, starts, axis=1)
        return found

    def value(counts: Array) -> Array:
        ranked = counts[:, order]
        weight = in_bins(ranked)
        gap = in_bins(ranked * off) / np.maximum(weight, 1)
        squares = ranked**2  # a row that was drawn twice tells nothing new: twice the chance
        spread = in_bins(squares * off**2) - 2 * gap * in_bins(squares * off) + gap**2 * in_bins(squares)
        excess = (weight * gap**2 - spread / np.maximum(weight, 1)).sum(axis=1)
        root: Array = np.sign(excess) * np.sqrt(np.abs(excess) / weight.sum(axis=1))
        return root

    return value


_STATISTICS: dict[str, Callable[[Array, Array], Statistic]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
    "brier": _squared,
    "calibration_error": _calibration_error,
    "rmse": _rmse,
    "mae": lambda target, score: mean_of(np.abs(score - target)),
    "r2": _r2,
}
