"""What the rules ask for is measured: whole holdout, slices, gaps, changed predictions, and paired differences."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from jobs.measure import NULL, Scored, measure_costs, measure_rules, slice_labels
from model_registry.metric_gate import judge
from model_registry.rules import Estimate, Measured, MetricRule
from model_registry.store import Version

ROWS = 2_000


def world(seed: int = 0, rows: int = ROWS, worse: float = 0.0) -> Scored:
    """Targets, a champion's scores, and a candidate's that are that much noisier."""
    random = np.random.default_rng(seed)
    target = (random.random(rows) < 0.4).astype(float)
    champion = np.clip(0.4 + 0.2 * (target - 0.4) + random.normal(0, 0.15, rows), 0.01, 0.99)
    candidate = np.clip(champion + random.normal(0, worse, rows), 0.01, 0.99) if worse else champion.copy()
    return Scored(target, candidate, champion)


def measured(rule: MetricRule, scored: Scored, seed: int = 7, **columns: Any) -> list[Measured]:
    return list(measure_rules([rule], scored, {name: pd.Series(values) for name, values in columns.items()}, seed))


def test_an_equal_candidate_differs_by_nothing() -> None:
    [found] = measured(MetricRule("auc", not_worse_by=0.01), world())
    assert found.worse_by == Estimate.exact(0.0)
    assert found.champion == found.candidate
    assert found.rows == ROWS


@pytest.mark.parametrize("metric", ["auc", "brier", "log_loss", "average_precision"])
def test_worse_is_positive_whichever_way_a_metric_runs(metric: str) -> None:
    [found] = measured(MetricRule(metric, not_worse_by=0.1), world(worse=0.3))
    assert found.worse_by is not None
    assert found.worse_by.low > 0


def test_without_a_champion_nothing_is_compared() -> None:
    scored = world()
    rules = [MetricRule("auc", at_least=0.5), MetricRule("changed_predictions", at_most=0.1, change=0.2)]
    alone = Scored(scored.target, scored.candidate, None)
    first, changed = measure_rules(rules, alone, {}, 1)
    assert (first.champion, first.worse_by, changed.candidate.value) == (None, None, 0.0)


def test_changed_predictions_are_the_share_beyond_the_change() -> None:
    scored = world()
    moved = scored.candidate.copy()
    moved[:500] += 0.3
    [found] = measured(
        MetricRule("changed_predictions", at_most=0.5, change=0.25), Scored(scored.target, moved, scored.champion)
    )
    assert found.candidate.value == 0.25
    assert 0.2 < found.candidate.low < 0.25 < found.candidate.high < 0.3


def test_slices_are_measured_apart_and_small_ones_only_counted() -> None:
    origin = ["EWR"] * 1200 + ["JFK"] * 750 + ["LGA"] * 50
    rule = MetricRule("auc", at_least=0.5, by="origin", minimum_rows=100)
    found = {m.part: m for m in measured(rule, world(), origin=origin)}
    assert {part: m.rows for part, m in found.items()} == {"EWR": 1200, "JFK": 750, "LGA": 50}
    assert math.isnan(found["LGA"].candidate.value)
    scored = world()
    [alone] = measured(MetricRule("auc", at_least=0.5), scored.only(np.arange(1200)))
    assert found["EWR"].candidate.value == alone.candidate.value


def test_the_gap_is_between_the_best_and_the_worst_slice() -> None:
    scored = world(rows=3_000)
    candidate = scored.candidate.copy()
    candidate[1000:2000] = np.random.default_rng(1).random(1000)  # knows nothing about JFK
    origin = ["EWR"] * 1000 + ["JFK"] * 1000 + ["LGA"] * 1000
    rule = MetricRule("auc", by="origin", largest_gap=0.1)
    *slices, gap = measured(rule, Scored(scored.target, candidate, None), origin=origin)
    values = {m.part: m.candidate.value for m in slices}
    assert gap.pair is not None
    assert gap.pair[0] == "JFK"
    assert gap.candidate.value == pytest.approx(max(values.values()) - values["JFK"])
    assert gap.candidate.low < gap.candidate.value < gap.candidate.high


def test_one_slice_has_no_gap() -> None:
    *_, gap = measured(MetricRule("auc", by="origin", largest_gap=0.1), world(), origin=["EWR"] * ROWS)
    assert (gap.rows, gap.pair) == (0, ("-", "-"))


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (["a", None, "b"], ["a", NULL, "b"]),
        ([1, 2, 1], ["1", "2", "1"]),
        ([1.0, np.nan, 2.5], ["1", NULL, "2.5"]),
        ([True, False, None], ["True", "False", NULL]),
        (pd.to_datetime(["2013-01-01", None, "2013-01-02"]), ["2013-01-01 00:00:00", NULL, "2013-01-02 00:00:00"]),
        (pd.Categorical(["x", "y", None]), ["x", "y", NULL]),
        ([None, None, None], [NULL, NULL, NULL]),
    ],
    ids=str,
)
def test_any_column_can_be_sliced_by(column: Any, labels: list[str]) -> None:
    assert list(slice_labels(pd.Series(column))) == labels


def test_a_number_with_many_values_is_sliced_into_quarters() -> None:
    values = np.r_[np.arange(100.0), np.nan]
    labels = slice_labels(pd.Series(values))
    counts = pd.Series(labels).value_counts()
    assert counts.drop(NULL).tolist() == [25, 25, 25, 25]
    assert labels[0] == "0 to 24.75"
    assert labels[99] == "74.25 to 99"
    assert labels[-1] == NULL


def test_costs_are_exact_and_only_those_that_are_asked_for() -> None:
    rules = [MetricRule("artifact_mb", at_most=3), MetricRule("auc", at_least=0.5)]
    assert measure_costs(rules, {"artifact_mb": 1.5, "latency_ratio": 9.0}, 10) == (
        Measured("artifact_mb", 0.95, 10, Estimate.exact(1.5)),
    )
    assert measure_rules(rules[:1], world(), {}, 1) == ()


def passes(rule: MetricRule, scored: Scored, seed: int) -> bool:
    candidate, champion = (
        Version("m", "d", "s", "p", None, None, "r", "u", number=n)  # type: ignore[arg-type]
        for n in (2, 1)
    )
    return judge(candidate, champion, measured(rule, scored, seed), [rule]).report.passed


def test_a_candidate_beyond_the_margin_is_hardly_ever_let_through() -> None:
    """Sixty holdouts on which the candidate is truly worse than the margin allows, and sixty on which it is not."""
    rule = MetricRule("auc", not_worse_by=0.02)
    let_through = sum(passes(rule, world(seed, worse=0.066), seed) for seed in range(60))
    kept_out = sum(not passes(rule, world(seed, worse=0.005), seed) for seed in range(60))
    assert let_through <= 8
    assert kept_out <= 2


def test_rules_on_one_thing_share_its_measurement() -> None:
    origin = ["EWR"] * 1500 + ["JFK"] * 450 + ["LGA"] * 50
    rules = [
        MetricRule("auc", at_least=0.5),
        MetricRule("auc", not_worse_by=0.1),
        MetricRule("auc", at_least=0.5, by="origin", minimum_rows=1000),
        MetricRule("auc", largest_gap=0.5, by="origin", minimum_rows=400),
    ]
    found = measure_rules(rules, world(), {"origin": pd.Series(origin)}, 7)
    assert [(m.by, m.part, m.pair is not None) for m in found] == [
        (None, None, False),
        ("origin", "EWR", False),
        ("origin", "JFK", False),
        ("origin", "LGA", False),
        ("origin", None, True),
    ]
    candidate, champion = (
        Version("m", "d", "s", "p", None, None, "r", "u", number=n)  # type: ignore[arg-type]
        for n in (2, 1)
    )
    checks = judge(candidate, champion, found, rules).report.checks
    assert [check.passed for check in checks] == [True] * 4
    assert "in each of" not in checks[0].expected
    assert checks[2].advice == "not judged: 2 with fewer than 1,000 rows each, 500 in all"


def test_no_change_in_few_rows_is_not_certain() -> None:
    scored = world(rows=100)
    [found] = measured(MetricRule("changed_predictions", at_most=0.02, change=0.1), scored)
    assert (found.candidate.value, found.candidate.low) == (0.0, 0.0)
    assert 0.02 < found.candidate.high < 0.03


def test_a_confidence_of_a_half_judges_the_value_itself() -> None:
    [found] = measured(MetricRule("brier", at_most=1, confidence=0.5), world(worse=0.1))
    assert found.candidate.low == found.candidate.value == found.candidate.high


@pytest.mark.parametrize("metric", ["auc", "brier", "calibration_error", "average_precision", "log_loss"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_score_that_is_not_finite_leaves_the_metric_unknown(metric: str, bad: float) -> None:
    scored = world()
    candidate = scored.candidate.copy()
    candidate[3] = bad
    [found] = measured(MetricRule(metric, at_least=0.1), Scored(scored.target, candidate, scored.champion))
    assert math.isnan(found.candidate.value)
    assert found.worse_by is not None
    assert math.isnan(found.worse_by.value)


def test_large_numbers_are_told_apart() -> None:
    assert list(slice_labels(pd.Series([1234567.0, 1234568.0]))) == ["1234567", "1234568"]
    assert len(set(slice_labels(pd.Series(1e9 + np.arange(100.0))))) == 4
