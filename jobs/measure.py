"""What the rules of a metric gate need to know: every metric with its bounds, over the holdout and its slices."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.bootstrap import Array, Draws, Statistic, estimate, mean_of, proportion, replicate, statistic
from model_registry.rules import (
    CHANGED,
    COSTS,
    HIGHER_IS_BETTER,
    RANKED,
    Estimate,
    Measured,
    MetricRule,
    Mode,
    Subject,
)

if TYPE_CHECKING:
    import pandas as pd

Labels = np.ndarray[Any, np.dtype[np.object_]]
MANY_VALUES = 20
LONGEST_NAME = 80
NULL = "(null)"
NOTHING = Estimate.exact(float("nan"))


@dataclass(frozen=True)
class Scored:
    """n holdout rows: their targets, the candidate's scores, and the champion's where there is one."""

    target: Array
    candidate: Array
    champion: Array | None

    def __len__(self) -> int:
        return len(self.target)

    def only(self, rows: Any) -> Scored:
        """Some of the rows."""
        return Scored(self.target[rows], self.candidate[rows], None if self.champion is None else self.champion[rows])


def measure_rules(
    rules: Sequence[MetricRule], scored: Scored, columns: Mapping[str, pd.Series[Any]], seed: int
) -> tuple[Measured, ...]:
    """The measurements that the rules ask for; `columns` holds the columns that they slice by.

    Costs, rules that are off, and changed predictions where there is no champion are left out.
    """
    asked = [rule for rule in rules if rule.mode is not Mode.off and rule.metric not in COSTS]
    gaps = {rule.subject for rule in asked if rule.largest_gap is not None}
    found: list[Measured] = []
    for subject in dict.fromkeys(rule.subject for rule in asked):
        if subject.metric == CHANGED and scored.champion is None:
            continue
        if subject.by is None:
            found.append(_measured(subject, scored, Draws(len(scored), seed))[0])
        else:
            labels = slice_labels(columns[subject.by])
            found += _slices(subject, scored, labels, seed, with_gap=subject in gaps)
    return tuple(found)


def measure_costs(rules: Sequence[MetricRule], costs: Mapping[str, float], rows: int) -> tuple[Measured, ...]:
    """The costs that the rules bound, as measurements without sampling error."""
    subjects = dict.fromkeys(rule.subject for rule in rules if rule.metric in COSTS)
    return tuple(Measured(subject, rows, Estimate.exact(costs[subject.metric])) for subject in subjects)


def slice_labels(column: pd.Series[Any]) -> Labels:
    """The slice of each row: its value as text, or the quarter that it is in where there are many different numbers."""
    import pandas as pd

    missing = column.isna().to_numpy(dtype=bool)
    labels = np.full(len(column), NULL, dtype=object)
    known = column[~missing]
    if pd.api.types.is_numeric_dtype(known) and known.nunique() > MANY_VALUES:
        labels[~missing] = _quarters(known.to_numpy(dtype=np.float64))
    else:
        labels[~missing] = [f"{v:.15g}" if isinstance(v, float | np.floating) else _shortened(str(v)) for v in known]
    return labels


def _shortened(text: str) -> str:
    """A value that fits a line; two values stay two, whatever they begin with."""
    if len(text) <= LONGEST_NAME:
        return text
    return f"{text[: LONGEST_NAME - 9]}~{hashlib.sha256(text.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _quarters(values: Array) -> Labels:
    """The quarter of each number, named by its ends; the lower end belongs to it."""
    edges = np.unique(np.quantile(values, [0, 0.25, 0.5, 0.75, 1], method="lower"))
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    digits = next(d for d in range(4, 18) if len({f"{edge:.{d}g}" for edge in edges}) == len(edges))
    names = [f"{low:.{digits}g} to {high:.{digits}g}" for low, high in pairwise(edges)]
    return np.array(names, dtype=object)[place]


def _measured(subject: Subject, scored: Scored, draws: Draws, part: str | None = None) -> tuple[Measured, Array]:
    """The measurement over these rows, and the candidate's replicates."""
    statistics = [_statistic(subject, scored, scored.candidate)]
    if scored.champion is not None and subject.metric != CHANGED:
        statistics.append(_statistic(subject, scored, scored.champion))
    values = replicate(statistics, draws)
    champion = values[1] if len(values) > 1 else None
    worse = None
    if champion is not None:
        worse = champion - values[0] if HIGHER_IS_BETTER[subject.metric] else values[0] - champion
    measured = Measured(
        subject,
        rows=len(scored),
        candidate=estimate(values[0], subject.confidence),
        champion=estimate(champion, subject.confidence) if champion is not None else None,
        worse_by=estimate(worse, subject.confidence) if worse is not None else None,
        part=part,
        rarer=_rarer(subject, scored),
    )
    if subject.metric == CHANGED:
        measured = replace(measured, candidate=proportion(float(values[0][0]), len(scored), subject.confidence))
    return measured, values[0]


def _rarer(subject: Subject, scored: Scored) -> int | None:
    if subject.metric not in RANKED:
        return None
    return int(min(np.sum(scored.target == 0), np.sum(scored.target == 1)))


def _statistic(subject: Subject, scored: Scored, score: Array) -> Statistic:
    if subject.metric != CHANGED or scored.champion is None:
        return statistic(subject.metric, scored.target, score)
    change = np.abs(scored.candidate - scored.champion)
    return mean_of(np.where(np.isnan(change), np.nan, change > (subject.change or 0.0)))


def _slices(subject: Subject, scored: Scored, labels: Labels, seed: int, *, with_gap: bool) -> list[Measured]:
    """Every slice that is large enough, the others put together, and the gap between the slices where it is wanted."""
    import pandas as pd

    place, parts = pd.factorize(labels, sort=True)
    sizes = np.bincount(place)
    rows_by_part = np.split(np.argsort(place, kind="stable"), np.cumsum(sizes)[:-1])
    smallest = subject.minimum_rows or 1
    found, drawn = [], {}
    for part, rows in zip(parts, rows_by_part, strict=True):
        if len(rows) >= smallest:
            draws = Draws(len(rows), seed, f"{subject.by}={part}")
            measured, values = _measured(subject, scored.only(rows), draws, part)
            found.append(measured)
            if measured.enough(smallest):
                drawn[part] = values
    gap = [_gap(subject, {m.part: m for m in found if m.part in drawn}, drawn)] if with_gap else []
    small = sizes[sizes < smallest]
    if len(small):
        found.append(Measured(subject, int(small.sum()), NOTHING, part="smaller ones", small=len(small)))
    return found + gap


def _gap(subject: Subject, slices: Mapping[str | None, Measured], drawn: Mapping[str, Array]) -> Measured:
    """The difference between the slices with the highest and the lowest value, and its bounds."""
    if len(drawn) < 2:
        return Measured(subject, 0, NOTHING, pair=("", ""))
    low, *_, high = sorted(drawn, key=lambda part: slices[part].candidate.value)
    rows = min(slices[low].rows, slices[high].rows)
    if any(np.isnan(measured.candidate.value) for measured in slices.values()):
        return Measured(subject, rows, NOTHING, pair=(low, high))
    shared = min(len(drawn[low]), len(drawn[high]))
    gap = estimate(drawn[high][:shared] - drawn[low][:shared], subject.confidence)
    return Measured(subject, rows, gap, pair=(low, high))
