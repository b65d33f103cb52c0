"""What the rules of a metric gate need to know: every metric with its bounds, over the holdout and its slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.bootstrap import Array, Draws, Statistic, estimate, mean_of, proportion, replicate, statistic
from model_registry.rules import CHANGED, COSTS, HIGHER_IS_BETTER, Estimate, Measured, MetricRule

if TYPE_CHECKING:
    import pandas as pd

MANY_VALUES = 20
NULL = "(null)"


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
    """The measurements that the rules ask for; `columns` holds the columns that they slice by. Costs are left out."""
    found: list[Measured] = []
    for rule in _subjects(rules):
        if rule.by is None:
            found.append(_measured(rule, scored, Draws(len(scored), seed))[0])
        else:
            found += _slices(rule, scored, slice_labels(columns[rule.by]), seed)
    return tuple(found)


def _subjects(rules: Sequence[MetricRule]) -> list[MetricRule]:
    """One rule for each thing to measure, however many rules look at it: the smallest slices, the gap if any asks."""
    found: dict[tuple[object, ...], MetricRule] = {}
    for rule in rules:
        if rule.metric not in COSTS:
            key = (rule.metric, rule.confidence, rule.by, rule.change)
            there = found.get(key, rule)
            gap = there.largest_gap if there.largest_gap is not None else rule.largest_gap
            least = min(there.minimum_rows, rule.minimum_rows)
            found[key] = replace(there, minimum_rows=least, largest_gap=gap)
    return list(found.values())


def measure_costs(rules: Sequence[MetricRule], costs: Mapping[str, float], rows: int) -> tuple[Measured, ...]:
    """The costs that the rules bound, as measurements without sampling error."""
    return tuple(
        Measured(rule.metric, rule.confidence, rows, Estimate.exact(costs[rule.metric]))
        for rule in {rule.metric: rule for rule in rules if rule.metric in COSTS}.values()
    )


def slice_labels(column: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.object_]]:
    """The slice of each row: its value as text, or the quarter that it is in where there are many different numbers."""
    import pandas as pd

    missing = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > MANY_VALUES:
        edges = np.unique(np.quantile(column[~missing].astype(float), [0, 0.25, 0.5, 0.75, 1]))
        place = np.clip(np.searchsorted(edges, column.astype(float), side="right") - 1, 0, len(edges) - 2)
        digits = next(d for d in range(6, 18) if d == 17 or len({f"{edge:.{d}g}" for edge in edges}) == len(edges))
        names = np.array([f"{low:.{digits}g} to {high:.{digits}g}" for low, high in pairwise(edges)], dtype=object)
        labels = names[place]
    else:
        labels = np.array(
            [f"{value:.15g}" if isinstance(value, float) else str(value)[:80] for value in column], dtype=object
        )
    labels[missing] = NULL
    return labels


def _measured(rule: MetricRule, scored: Scored, draws: Draws, part: str | None = None) -> tuple[Measured, Array]:
    """The measurement over these rows, and the candidate's replicates."""
    statistics = [_statistic(rule, scored, scored.candidate)]
    if scored.champion is not None and rule.metric != CHANGED:
        statistics.append(_statistic(rule, scored, scored.champion))
    values = replicate(statistics, draws)
    champion = values[1] if len(values) > 1 else None
    worse = None
    if champion is not None:
        worse = champion - values[0] if HIGHER_IS_BETTER[rule.metric] else values[0] - champion
    measured = Measured(
        metric=rule.metric,
        confidence=rule.confidence,
        rows=len(scored),
        candidate=estimate(values[0], rule.confidence),
        champion=estimate(champion, rule.confidence) if champion is not None else None,
        worse_by=estimate(worse, rule.confidence) if worse is not None else None,
        by=rule.by,
        part=part,
        change=rule.change,
    )
    if rule.metric == CHANGED:
        share = float(values[0][0])
        measured = replace(measured, candidate=proportion(share, len(scored), rule.confidence))
    return measured, values[0]


def _statistic(rule: MetricRule, scored: Scored, score: Array) -> Statistic:
    if rule.metric != CHANGED:
        return statistic(rule.metric, scored.target, score)
    if scored.champion is None:
        return mean_of(np.zeros(len(scored)))  # nothing to differ from
    return mean_of((np.abs(scored.candidate - scored.champion) > (rule.change or 0.0)).astype(np.float64))


def _slices(rule: MetricRule, scored: Scored, labels: np.ndarray[Any, Any], seed: int) -> list[Measured]:
    found, drawn = [], {}
    for part in sorted(set(labels)):
        rows = labels == part
        if rows.sum() < rule.minimum_rows:
            unknown = Estimate.exact(float("nan"))
            found.append(_of_slice(rule, int(rows.sum()), unknown, part))
            continue
        measured, values = _measured(rule, scored.only(rows), Draws(int(rows.sum()), seed, f"{rule.by}={part}"), part)
        found.append(measured)
        drawn[part] = values
    if rule.largest_gap is not None:
        found.append(_gap(rule, {measured.part: measured for measured in found}, drawn))
    return found


def _of_slice(rule: MetricRule, rows: int, value: Estimate, part: str) -> Measured:
    return Measured(rule.metric, rule.confidence, rows, value, by=rule.by, part=part, change=rule.change)


def _gap(rule: MetricRule, slices: Mapping[str | None, Measured], drawn: Mapping[str, Array]) -> Measured:
    """The difference between the slices with the highest and the lowest value, and its bounds."""
    known = [part for part, values in drawn.items() if np.isfinite(slices[part].candidate.value)]
    if len(known) < 2:
        return Measured(rule.metric, rule.confidence, 0, Estimate.exact(float("nan")), by=rule.by, pair=("-", "-"))
    low, *_, high = sorted(known, key=lambda part: slices[part].candidate.value)
    shared = min(len(drawn[low]), len(drawn[high]))
    gap = estimate(drawn[high][:shared] - drawn[low][:shared], rule.confidence)
    rows = min(slices[low].rows, slices[high].rows)
    return Measured(rule.metric, rule.confidence, rows, gap, by=rule.by, pair=(low, high), change=rule.change)
