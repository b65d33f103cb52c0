"""The bootstrap: each statistic is scikit-learn's, and a bound that is to hold in 95 of 100 cases does."""

from __future__ import annotations

import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from jobs import bootstrap
from jobs.bootstrap import Draws, estimate, mean_of, proportion, replicate, statistic

NAMES = ("auc", "average_precision", "log_loss", "brier", "rmse", "mae", "r2")
SKLEARN: dict[str, Any] = {
    "auc": metrics.roc_auc_score,
    "average_precision": metrics.average_precision_score,
    "log_loss": lambda y, s, sample_weight: metrics.log_loss(y, s, sample_weight=sample_weight, labels=[0, 1]),
    "brier": lambda y, s, sample_weight: metrics.brier_score_loss(y, s, sample_weight=sample_weight, pos_label=1),
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "r2": metrics.r2_score,
}


def _rows(seed: int, rows: int, levels: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, scores with ties, and how often each row counts; both classes count."""
    random = np.random.default_rng(seed)
    target = (random.random(rows) < 0.4).astype(float)
    score = np.round(random.random(rows) * levels) / levels
    counts = random.integers(0, 4, rows).astype(float)
    target[:2], counts[:2] = (0.0, 1.0), 1.0
    return target, score, counts


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 10_000), rows=st.integers(3, 60), levels=st.sampled_from([1, 3, 1000]))
def test_each_statistic_is_that_of_scikit_learn_with_weights(name: str, seed: int, rows: int, levels: int) -> None:
    target, score, counts = _rows(seed, rows, levels)
    found = statistic(name, target, score)(np.stack([counts, np.ones(rows)]))
    wanted = [SKLEARN[name](target, score, sample_weight=weight) for weight in (counts, np.ones(rows))]
    assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("name", [*NAMES, "calibration_error"])
def test_weights_are_rows_repeated(name: str) -> None:
    target, score, counts = _rows(3, 400, 1000)
    again = np.repeat(np.arange(400), counts.astype(int))
    found = float(statistic(name, target, score)(counts[None, :])[0])
    if name != "calibration_error":  # its bins are those of the rows as they are
        wanted = statistic(name, target[again], score[again])(np.ones((1, len(again))))
        assert found == pytest.approx(float(wanted[0]))
    twice = statistic(name, np.tile(target, 2), np.tile(score, 2))(np.tile(counts, 2)[None, :])
    assert found == pytest.approx(float(twice[0]), abs=0.05)


@pytest.mark.parametrize("metric", ["auc", "average_precision"])
@pytest.mark.parametrize("only", [0.0, 1.0])
def test_one_class_cannot_be_ranked(metric: str, only: float) -> None:
    found = statistic(metric, np.full(5, only), np.arange(5.0))(np.ones((1, 5)))
    assert np.isnan(found[0]) or (metric == "average_precision" and only == 1.0)


def test_a_constant_score_ranks_nothing() -> None:
    target = np.array([0.0, 1, 1, 0, 1])
    one = np.ones((1, 5))
    assert statistic("auc", target, np.full(5, 0.3))(one) == pytest.approx([0.5])
    assert statistic("average_precision", target, np.full(5, 0.3))(one) == pytest.approx([0.6])
    assert np.isnan(statistic("r2", np.full(5, 0.3), target)(one)[0])


def test_r2_holds_far_from_zero() -> None:
    target = np.random.default_rng(0).normal(size=500)
    score = target + 0.3
    near, far = (statistic("r2", target + up, score + up)(np.ones((1, 500)))[0] for up in (0.0, 1e9))
    assert far == pytest.approx(near, abs=1e-5)


def test_log_loss_of_a_certain_mistake_is_finite_and_as_in_scikit_learn() -> None:
    target, score = np.array([0.0, 1.0, 1.0]), np.array([1.0, 0.0, 1.0])
    found = statistic("log_loss", target, score)(np.ones((1, 3)))
    assert found == pytest.approx([metrics.log_loss(target, score, labels=[0, 1])])


@pytest.mark.parametrize("rows", [1, 2, 9, 10, 11, 25])
def test_calibration_error_bins_every_row_once(rows: int) -> None:
    """A score that is off by the same everywhere has no chance in it: the error is just that."""
    score = np.linspace(0, 1, rows)
    assert statistic("calibration_error", score + 0.2, score)(np.ones((1, rows))) == pytest.approx([0.2])


def test_calibration_error_is_computed_by_hand() -> None:
    target, score = np.array([1.0, 0.0] * 10), np.repeat(np.arange(10) / 10, 2)
    found = statistic("calibration_error", target * 4, score)(np.ones((1, 20)))
    gaps = 2 - np.arange(10) / 10  # in each bin two rows, two units from their mean
    assert found == pytest.approx([math.sqrt(np.mean(gaps**2 - 4 / 2))])


def test_a_calibrated_score_has_hardly_a_calibration_error() -> None:
    found = []
    for seed in range(60):
        random = np.random.default_rng(seed)
        score = random.random(500)
        target = (random.random(500) < score).astype(float)
        found.append(statistic("calibration_error", target, score)(np.ones((1, 500)))[0])
    assert np.mean(found) < 0.02  # without the correction: 0.06


def test_an_unknown_metric_is_no_metric() -> None:
    with pytest.raises(KeyError):
        statistic("beauty", np.zeros(2), np.zeros(2))


def test_each_draw_has_as_many_rows_and_the_seed_fixes_them() -> None:
    first, again, other, elsewhere = (
        np.concatenate(list(Draws(50, seed, name).counts()))
        for seed, name in ((7, ""), (7, ""), (8, ""), (7, "origin=JFK"))
    )
    assert first.shape == (1000, 50)
    assert (first.sum(axis=1) == 50).all()
    assert (first == again).all()
    assert not (first == other).all()
    assert not (first == elsewhere).all()
    assert first.mean(axis=0) == pytest.approx(np.ones(50), abs=0.2)
    assert first.var() == pytest.approx(0.98, abs=0.05)  # drawn with replacement: nearly Poisson


@pytest.mark.parametrize(
    ("rows", "replicates"), [(1, 1000), (200_000, 1000), (400_000, 500), (1_000_000, 200), (10_000_000, 200)]
)
def test_very_many_rows_are_drawn_less_often(rows: int, replicates: int) -> None:
    assert Draws(rows, 1).replicates == replicates


def test_draws_come_in_chunks_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.concatenate(list(Draws(50, 7).counts()))
    monkeypatch.setattr(bootstrap, "CHUNK", 50 * 300)
    chunks = list(Draws(50, 7).counts())
    assert [len(chunk) for chunk in chunks] == [300, 300, 300, 100]
    assert (np.concatenate(chunks) == whole).all()


def test_replicates_are_paired_and_begin_with_the_value_itself() -> None:
    values = np.random.default_rng(0).normal(size=80)
    mine, theirs = replicate([mean_of(values), mean_of(values + 0.25)], Draws(80, 3))
    assert mine.shape == theirs.shape == (1001,)
    assert mine[0] == pytest.approx(values.mean())
    assert theirs - mine == pytest.approx(np.full(1001, 0.25))  # the same rows in each draw


NORMAL = np.concatenate([[0.0], np.random.default_rng(5).normal(size=1000)])


@pytest.mark.parametrize(
    ("confidence", "z"), [(0.9, 1.2816), (0.95, 1.6449), (0.99, 2.3263), (0.997, 2.7478), (0.999, 3.0902)]
)
def test_bounds_of_what_is_normal_are_the_normal_ones(confidence: float, z: float) -> None:
    found = estimate(NORMAL, confidence)
    assert (found.value, found.low, found.high) == (0.0, pytest.approx(-z, abs=0.25), pytest.approx(z, abs=0.25))


def test_few_replicates_beyond_a_bound_leave_it_to_their_deviation() -> None:
    values = np.concatenate([[1.0], np.linspace(0, 2, 99), [100.0]])
    assert estimate(values, 0.96).high == pytest.approx(1 + 1.7507 * np.std(values[1:]), rel=1e-4)
    assert estimate(values, 0.949).high < 2


def test_half_a_confidence_is_the_value_itself() -> None:
    assert estimate(NORMAL + np.r_[0.3, np.zeros(1000)], 0.5).low == 0.3
    assert estimate(NORMAL + np.r_[0.3, np.zeros(1000)], 0.5).high == 0.3


def test_the_correction_moves_bounds_away_from_the_bias() -> None:
    """Replicates that lie above the value say that the value lies above the truth: the bounds go down."""
    values = np.concatenate([[-0.5], NORMAL[1:]])
    found = estimate(values, 0.95)
    assert found.high == pytest.approx(1.645 - 1.0, abs=0.15)
    assert found.low < float(np.quantile(values[1:], 0.05))


@pytest.mark.parametrize("value", [-9.0, 9.0])
def test_the_value_is_within_its_bounds(value: float) -> None:
    found = estimate(np.concatenate([[value], NORMAL[1:]]), 0.95)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("missing", "known"), [(0, True), (50, True), (51, False), (1000, False)])
def test_a_metric_that_is_often_undefined_is_not_known(missing: int, known: bool) -> None:
    values = NORMAL.copy()
    values[1 : missing + 1] = np.nan
    assert math.isfinite(estimate(values, 0.95).value) is known
    assert math.isnan(estimate(values, 0.5).value) is not known


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_a_value_that_is_no_number_is_not_known(value: float, confidence: float) -> None:
    found = estimate(np.concatenate([[value], NORMAL[1:]]), confidence)
    assert np.isnan([found.value, found.low, found.high]).all()


def test_equal_models_differ_by_nothing_for_sure() -> None:
    found = estimate(np.zeros(1001), 0.95)
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("rows", [10, 300])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_share_has_bounds_that_solve_the_score_equation(share: float, rows: int, confidence: float) -> None:
    from statistics import NormalDist

    found, z = proportion(share, rows, confidence), NormalDist().inv_cdf(confidence)
    assert 0 <= found.low <= found.value == share <= found.high <= 1
    for end in (found.low, found.high):
        assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / rows), abs=1e-9)


def test_what_was_never_seen_may_be_there() -> None:
    assert proportion(0.0, 100, 0.95).high == pytest.approx(0.0263, abs=1e-4)
    assert proportion(0.2, 100, 0.5).high == pytest.approx(0.2)


ROUNDS, ROWS = 300, 300
TRUTHS = {"auc": 0.8149, "brier": 0.1747, "rmse": 0.8054, "mae": 0.6425, "r2": 0.6044}


def _holdout(metric: str, random: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Targets, and the scores of a good and of a worse model that errs in much the same way."""
    signal = random.normal(size=rows)
    if metric in {"rmse", "mae", "r2"}:
        target = signal + random.normal(size=rows) * 0.8
        return target, 0.9 * signal, 0.9 * signal + random.normal(size=rows) * 0.3
    target = (random.random(rows) < 1 / (1 + np.exp(-1.5 * signal))).astype(float)
    worse = 1 / (1 + np.exp(-(1.2 * signal + random.normal(size=rows) * 0.5)))
    return target, 1 / (1 + np.exp(-1.5 * signal)), worse


def _values(metric: str, target: np.ndarray, *scores: np.ndarray) -> list[float]:
    return [float(statistic(metric, target, score)(np.ones((1, len(target))))[0]) for score in scores]


@pytest.mark.parametrize("metric", sorted(TRUTHS))
def test_bounds_hold_as_often_as_they_say(metric: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One-sided 95 % bounds of the value and of the paired difference, over simulated holdouts (fixed seeds)."""
    monkeypatch.setattr(bootstrap, "REPLICATES", 300)
    random = np.random.default_rng(20)
    target, *scores = _holdout(metric, random, 200_000)
    good, worse = _values(metric, target, *scores)
    assert good == pytest.approx(TRUTHS[metric], abs=0.005)
    held = np.zeros(4)
    for seed in range(ROUNDS):
        target, *scores = _holdout(metric, random, ROWS)
        mine, theirs = replicate([statistic(metric, target, score) for score in scores], Draws(ROWS, seed))
        value, difference = estimate(mine, 0.95), estimate(theirs - mine, 0.95)
        held += [value.low <= good, value.high >= good, difference.low <= worse - good, difference.high >= worse - good]
    assert ((held / ROUNDS >= 0.92) & (held / ROUNDS <= 0.98)).all(), held / ROUNDS


PEAK = """
import resource, sys
import numpy as np
from jobs.bootstrap import Draws, replicate, statistic
rows = int(sys.argv[1])
random = np.random.default_rng(1)
target, score = (random.random(rows) < 0.3).astype(float), random.random(rows)
for metric in ("auc", "calibration_error"):
    draws = Draws(rows, 1)
    for number, counts in enumerate(draws.counts()):
        statistic(metric, target, score)(counts)
        if number == 1:
            break
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_a_million_rows_need_little_more_memory_than_a_hundred_thousand() -> None:
    def peak(rows: int) -> int:
        ran = subprocess.run([sys.executable, "-c", PEAK, str(rows)], capture_output=True, text=True, check=True)
        return int(ran.stdout)

    few, many = peak(100_000), peak(1_000_000)
    assert many < 2 * few, (few, many)
