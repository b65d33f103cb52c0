"""What is measured for the rules: whole holdout and slices, paired, and only what can be known."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, roc_auc_score

from jobs import bootstrap
from jobs.measure import NULL, Scored, measure_costs, measure_rules, slice_labels
from model_registry.metric_gate import judge
from model_registry.rules import Measured, MetricRule, Mode, Subject, TooFew
from model_registry.store import Version

AUC = MetricRule("auc", at_least=0.5)
MAE = MetricRule("mae", at_most=9, by="origin", largest_gap=1.0, too_few=TooFew.accept)
CHANGED = MetricRule("changed_predictions", at_most=0.5, change=0.1)
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
CANDIDATE = Version(
    number=2,
    model="toys",
    digest="d" * 64,
    signature="s" * 64,
    partition="2026-01-01",
    trained_from=NOW,
    trained_until=NOW,
    mlflow_run_id="run",
    artifact_uri="/files",
)


@pytest.fixture(autouse=True)
def _fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "REPLICATES", 200)


def scored(rows: int = 600, seed: int = 1, champion: bool = True) -> Scored:
    random = np.random.default_rng(seed)
    signal = random.normal(size=rows)
    target = (random.random(rows) < 1 / (1 + np.exp(-signal))).astype(float)
    mine = 1 / (1 + np.exp(-signal))
    return Scored(target, mine, np.clip(mine + random.normal(size=rows) * 0.1, 0, 1) if champion else None)


def origins(*sizes: int) -> dict[str, Any]:
    names = np.repeat(["EWR", "JFK", "LGA", "HPN", "ISP"][: len(sizes)], sizes)
    return {"origin": pd.Series(names)}


def test_both_models_are_measured_on_the_same_rows() -> None:
    data = scored()
    (found,) = measure_rules([AUC], data, {}, 7)
    assert found.subject == AUC.subject
    assert (found.rows, found.part, found.pair, found.small) == (600, None, None, 0)
    assert found.rarer == min(np.sum(data.target == 0), np.sum(data.target == 1))
    assert found.candidate.value == pytest.approx(roc_auc_score(data.target, data.candidate))
    assert found.champion is not None
    assert found.champion.value == pytest.approx(roc_auc_score(data.target, data.champion))
    assert found.worse_by is not None
    assert found.worse_by.value == pytest.approx(found.champion.value - found.candidate.value)
    alone = found.candidate.high - found.candidate.low
    assert found.worse_by.high - found.worse_by.low < alone  # paired: less noise than either


@pytest.mark.parametrize(("metric", "higher"), [("auc", True), ("r2", True), ("brier", False), ("rmse", False)])
def test_worse_is_worse_whichever_way_the_metric_goes(metric: str, higher: bool) -> None:
    data = scored()
    assert data.champion is not None
    (found,) = measure_rules([MetricRule(metric, not_worse_by=0.1)], data, {}, 7)
    (turned,) = measure_rules(
        [MetricRule(metric, not_worse_by=0.1)], Scored(data.target, data.champion, data.candidate), {}, 7
    )
    assert found.worse_by is not None
    assert turned.worse_by is not None
    assert found.worse_by.value < 0 < turned.worse_by.value
    assert found.worse_by.low == pytest.approx(-turned.worse_by.high, abs=0.02)


def test_the_seed_fixes_the_bounds() -> None:
    first, again, other = (measure_rules([AUC], scored(), {}, seed)[0].candidate for seed in (7, 7, 8))
    assert first == again
    assert first.value == other.value
    assert first.low != other.low


def test_the_same_scores_differ_by_nothing() -> None:
    data = scored()
    for metric in ("auc", "brier", "calibration_error", "log_loss"):
        (found,) = measure_rules([MetricRule(metric, not_worse_by=0)], replace(data, champion=data.candidate), {}, 7)
        assert found.worse_by is not None
        assert (found.worse_by.low, found.worse_by.value, found.worse_by.high) == (0, 0, 0)


def test_a_first_version_is_measured_alone() -> None:
    found = measure_rules([AUC, CHANGED], scored(champion=False), {}, 7)
    assert [m.subject.metric for m in found] == ["auc"]
    assert (found[0].champion, found[0].worse_by) == (None, None)


def test_the_share_of_changed_predictions_is_counted() -> None:
    target = np.zeros(200)
    candidate = np.r_[np.full(50, 0.61), np.full(50, 0.59), np.full(100, 0.5)]
    data = Scored(target, candidate, np.full(200, 0.5))
    (found,) = measure_rules([CHANGED], data, {}, 7)
    assert found.candidate.value == 0.25
    assert 0.2 < found.candidate.low < 0.25 < found.candidate.high < 0.31
    assert (found.champion, found.worse_by, found.rarer) == (None, None, None)
    (exactly,) = measure_rules([replace(CHANGED, change=0.11)], replace(data, candidate=np.full(200, 0.5)), {}, 7)
    assert exactly.candidate.value == 0
    assert exactly.candidate.high > 0.01  # none in 200 is not never


@pytest.mark.parametrize("metric", ["auc", "average_precision", "brier", "log_loss", "calibration_error", "mae", "r2"])
@pytest.mark.parametrize("whose", ["candidate", "champion"])
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_is_never_measured_away(metric: str, whose: str, broken: float) -> None:
    data, rule = scored(), MetricRule(metric, not_worse_by=9)
    scores = getattr(data, whose).copy()
    scores[17] = broken
    found = measure_rules([rule], replace(data, **{whose: scores}), {}, 7)
    assert found[0].worse_by is not None
    assert math.isnan(found[0].worse_by.value)
    assert not judge(CANDIDATE, replace(CANDIDATE, number=1), found, [rule]).report.passed


def test_a_change_to_no_number_is_not_measured() -> None:
    data = scored()
    found = measure_rules([CHANGED], replace(data, candidate=np.r_[math.nan, data.candidate[1:]]), {}, 7)
    assert not judge(CANDIDATE, replace(CANDIDATE, number=1), found, [CHANGED]).report.passed


def test_what_is_off_and_what_costs_is_not_measured_here() -> None:
    rules = [replace(AUC, mode=Mode.off), MetricRule("artifact_mb", at_most=5), replace(AUC, mode=Mode.warn)]
    assert len(measure_rules(rules, scored(), {}, 7)) == 1
    assert measure_rules(rules[:2], scored(), {}, 7) == ()


def test_costs_are_exact() -> None:
    rules = [MetricRule("artifact_mb", at_most=5), MetricRule("artifact_mb", at_least=1), AUC]
    (found,) = measure_costs(rules, {"artifact_mb": 2.5, "load_ratio": 1.0}, 600)
    assert (found.subject.metric, found.rows) == ("artifact_mb", 600)
    assert (found.candidate.low, found.candidate.value, found.candidate.high) == (2.5, 2.5, 2.5)


def test_rules_on_one_subject_are_measured_once() -> None:
    rules = [AUC, replace(AUC, at_least=0.9, mode=Mode.warn), replace(AUC, confidence=0.9)]
    assert [m.subject.confidence for m in measure_rules(rules, scored(), {}, 7)] == [0.95, 0.9]


def by_part(found: tuple[Measured, ...]) -> dict[str | None, Measured]:
    return {m.part: m for m in found if m.pair is None}


def test_each_slice_is_measured_on_its_own_rows() -> None:
    data = scored()
    found = measure_rules([MAE], data, origins(300, 200, 100), 7)
    parts = by_part(found)
    assert list(parts) == ["EWR", "JFK", "LGA"]
    assert [m.rows for m in parts.values()] == [300, 200, 100]
    for part, rows in (("EWR", slice(0, 300)), ("LGA", slice(500, 600))):
        wanted = mean_absolute_error(data.target[rows], data.candidate[rows])
        assert parts[part].candidate.value == pytest.approx(wanted)
        assert parts[part].worse_by is not None


def test_slices_below_the_minimum_are_put_together() -> None:
    found = measure_rules([MAE], scored(), origins(400, 101, 99), 7)
    parts = by_part(found)
    assert list(parts) == ["EWR", "JFK", "smaller ones"]
    assert (parts["smaller ones"].small, parts["smaller ones"].rows) == (1, 99)
    assert math.isnan(parts["smaller ones"].candidate.value)


def test_the_gap_is_between_the_best_and_the_worst() -> None:
    target = np.zeros(600)
    data = Scored(target, np.repeat([0.3, 0.1, 0.7], 200) + np.tile([0, 0.02], 300), None)
    found = measure_rules([MAE], data, origins(200, 200, 200), 7)
    gap = found[-1]
    assert (gap.pair, gap.rows, gap.part) == (("JFK", "LGA"), 200, None)
    assert gap.candidate.value == pytest.approx(0.6)
    assert 0.6 < gap.candidate.high < 0.605
    assert 0.595 < gap.candidate.low < 0.6
    assert all(m.pair is None for m in measure_rules([replace(MAE, largest_gap=None)], data, origins(200, 200, 200), 7))


def test_one_slice_has_no_gap() -> None:
    gap = next(m for m in measure_rules([MAE], scored(), origins(550, 50), 7) if m.pair is not None)
    assert (gap.rows, gap.pair) == (0, ("", ""))
    assert math.isnan(gap.candidate.value)


def test_the_gap_of_a_slice_that_is_no_number_is_not_measured() -> None:
    data = scored()
    broken = data.candidate.copy()
    broken[3] = math.nan
    gap = measure_rules([MAE], replace(data, candidate=broken), origins(200, 200, 200), 7)[-1]
    assert gap.rows == 200
    assert math.isnan(gap.candidate.value)


def test_a_slice_of_one_class_is_measured_as_what_it_is() -> None:
    rule = replace(AUC, by="origin", largest_gap=0.5)
    target = np.r_[np.tile([0.0, 1.0], 200), np.zeros(195), np.ones(5)]
    found = measure_rules([rule], Scored(target, np.random.default_rng(0).random(600), None), origins(200, 200, 200), 7)
    parts = by_part(found)
    assert [m.rarer for m in parts.values()] == [100, 100, 5]
    assert not parts["LGA"].enough(100)
    assert found[-1].pair is not None
    assert set(found[-1].pair) == {"EWR", "JFK"}  # the gap leaves it out


def test_the_minimum_belongs_to_the_rule() -> None:
    large = replace(MAE, minimum_rows=300)
    found = measure_rules([MAE, large], scored(), origins(300, 200, 100), 7)
    assert [m.part for m in found if m.subject == large.subject and m.pair is None] == ["EWR", "smaller ones"]
    assert Subject("mae", 0.95, "origin", None, 300) == large.subject


def test_a_column_of_names_does_not_fill_the_report() -> None:
    rows = 200_000
    names = pd.Series([f"user-{n}" for n in range(rows)])
    found = measure_rules([replace(MAE, largest_gap=None)], scored(rows), {"origin": names}, 7)
    assert [(m.part, m.small, m.rows) for m in found] == [("smaller ones", rows, rows)]


@pytest.mark.parametrize(
    ("column", "labels"),
    [
        (pd.Series([True, False, None], dtype="boolean"), ["True", "False", NULL]),
        (pd.Series([True, False]), ["True", "False"]),
        (pd.Series([1, 2, 3]), ["1", "2", "3"]),
        (pd.Series([1.0, 0.5, math.nan]), ["1", "0.5", NULL]),
        (pd.Series([1234567.0, 1234568.0]), ["1234567", "1234568"]),
        (pd.Series([1.5, 2.0], dtype="float32"), ["1.5", "2"]),
        (pd.Series([1, None], dtype="Int64"), ["1", NULL]),
        (pd.Series(["a", None, "b", "a"]), ["a", NULL, "b", "a"]),
        (pd.Series(["a", None, "b"], dtype="category"), ["a", NULL, "b"]),
        (pd.Series([2, None, 1], dtype="category"), ["2", NULL, "1"]),
        (pd.Series([None, None], dtype=object), [NULL, NULL]),
        (pd.Series([math.nan, math.nan]), [NULL, NULL]),
        (pd.Series([], dtype=float), []),
        (pd.Series([dt.date(2026, 1, 2), pd.NaT]), ["2026-01-02", NULL]),
        (pd.Series(pd.to_datetime(["2026-01-02", None])), ["2026-01-02 00:00:00", NULL]),
        (pd.Series([Decimal("1.50"), None]), ["1.50", NULL]),
        (pd.Series([[1, 2], None, [1, 2]]), ["[1, 2]", NULL, "[1, 2]"]),
        (pd.Series([math.inf, -math.inf, 0.0]), ["inf", "-inf", "0"]),
        (pd.Series(["x" * 80]), ["x" * 80]),
        (pd.Series(["", " ", "Zürich|"]), ["", " ", "Zürich|"]),
    ],
    ids=lambda value: str(getattr(value, "dtype", ""))[:20],
)
def test_every_kind_of_column_has_slices(column: pd.Series, labels: list[str]) -> None:
    assert list(slice_labels(column)) == labels


def test_long_values_that_begin_alike_stay_apart() -> None:
    found = slice_labels(pd.Series(["x" * 500, "x" * 500 + "y", "x" * 500]))
    assert found[0] == found[2] != found[1]
    assert {len(label) for label in found} == {80}


def test_many_numbers_are_put_into_quarters() -> None:
    column = pd.Series([*range(100), None])
    labels = slice_labels(column)
    assert list(dict.fromkeys(labels)) == ["0 to 24", "24 to 49", "49 to 74", "74 to 99", NULL]
    assert [labels[n] for n in (0, 23, 24, 99)] == ["0 to 24", "0 to 24", "24 to 49", "74 to 99"]
    assert list(slice_labels(pd.Series(range(20)))) == [str(n) for n in range(20)]
    assert "0 to 5" in slice_labels(pd.Series(range(21)))


def test_quarters_that_look_alike_keep_apart() -> None:
    column = pd.Series(1e9 + np.arange(100))
    assert len(set(slice_labels(column))) == 4


@given(
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True) | st.just(0.0), min_size=1, max_size=200),
    dtype=st.sampled_from(["float64", "Float64"]),
)
def test_every_row_has_a_slice(values: list[float], dtype: str) -> None:
    labels = slice_labels(pd.Series(values, dtype=dtype))
    assert all(isinstance(label, str) and label for label in labels)
    known = [v for v in values if not math.isnan(v)]
    if len(set(known)) > 20:
        assert len(set(labels) - {NULL}) <= 4
