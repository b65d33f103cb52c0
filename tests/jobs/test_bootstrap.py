"""The bootstrap: each statistic is scikit-learn's, its bounds hold as often as they say, and the seed fixes all."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from jobs.bootstrap import FEWEST_REPLICATES, REPLICATES, WORK, Draws, estimate, mean_of, replicate, statistic
from model_registry.rules import Estimate

CLASSES = {
    "auc": metrics.roc_auc_score,
    "average_precision": metrics.average_precision_score,
    "log_loss": metrics.log_loss,
    "brier": metrics.brier_score_loss,
}
NUMBERS = {
    "rmse": metrics.root_mean_squared_error,
    "mae": metrics.mean_absolute_error,
    "r2": metrics.r2_score,
}


def rows(seed: int, size: int, ties: bool = False) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    target = (random.random(size) < 0.3).astype(float)
    target[:2] = 0.0, 1.0
    score = np.clip(random.normal(0.3 + 0.15 * target, 0.15), 0.01, 0.99)
    return target, score.round(1).clip(0.01, 0.99) if ties else score


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(5, 200), ties=st.booleans())
def test_a_statistic_is_scikit_learns_with_the_draws_as_weights(seed: int, size: int, ties: bool) -> None:
    target, score = rows(seed, size, ties)
    counts = np.bincount(np.random.default_rng(seed + 1).integers(0, size, size), minlength=size).astype(float)
    counts[:2] += 1  # both classes
    for name, reference in CLASSES.items():
        found = statistic(name, target, score)(counts[None])[0]
        assert found == pytest.approx(reference(target, score, sample_weight=counts), abs=1e-9)
    for name, reference in NUMBERS.items():
        found = statistic(name, target + score**2, score)(counts[None])[0]
        assert found == pytest.approx(reference(target + score**2, score, sample_weight=counts), abs=1e-9)


def test_calibration_error_is_zero_where_scores_mean_what_they_say() -> None:
    score = np.repeat(np.linspace(0.05, 0.95, 10), 100)
    target = np.concatenate([np.arange(100) < 100 * s for s in np.linspace(0.05, 0.95, 10)]).astype(float)
    one = np.ones((1, 1000))
    assert statistic("calibration_error", target, score)(one)[0] == pytest.approx(0, abs=1e-9)
    assert statistic("calibration_error", target, np.clip(score + 0.1, 0, 2))(one)[0] == pytest.approx(0.1, abs=1e-9)


@pytest.mark.parametrize("metric", ["auc", "average_precision", "r2"])
def test_what_one_class_or_one_value_cannot_give_is_not_a_number(metric: str) -> None:
    target = np.zeros(50)
    values = replicate([statistic(metric, target, np.linspace(0, 1, 50))], Draws(50, 1))[0]
    assert math.isnan(estimate(values, 0.95).value)


def test_a_metric_that_is_undefined_in_many_draws_is_not_measured() -> None:
    target = np.zeros(40)
    target[3] = 1.0  # in more than a third of the draws there is no positive
    values = replicate([statistic("auc", target, np.linspace(0, 1, 40))], Draws(40, 1))[0]
    assert math.isfinite(values[0])
    assert math.isnan(estimate(values, 0.95).value)


def test_the_same_seed_and_name_give_the_same_draws_and_others_do_not() -> None:
    target, score = rows(1, 300)
    found = [
        replicate([statistic("auc", target, score)], Draws(300, seed, name))[0]
        for seed, name in [(1, ""), (1, ""), (2, ""), (1, "origin=JFK")]
    ]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])
    assert not np.array_equal(found[0], found[3])
    assert len(found[0]) == REPLICATES + 1


def test_very_many_rows_are_drawn_less_often_and_in_pieces() -> None:
    draws = Draws(WORK // 500, 1)
    assert draws.replicates == 500
    assert Draws(WORK, 1).replicates == FEWEST_REPLICATES
    assert next(iter(Draws(1_000_000, 1).counts())).shape == (4, 1_000_000)
    pieces = [counts.shape[0] for counts in Draws(10_000, 1).counts()]
    assert (sum(pieces), max(pieces)) == (REPLICATES, 400)


def test_every_draw_has_as_many_rows_as_the_holdout() -> None:
    for counts in Draws(37, 5).counts():
        assert np.array_equal(counts.sum(axis=1), np.full(len(counts), 37.0))


def test_a_difference_without_noise_has_no_spread() -> None:
    values = replicate([mean_of(np.zeros(50))], Draws(50, 1))[0]
    assert estimate(values, 0.95) == Estimate.exact(0.0)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("metric", ["auc", "brier"])
def test_bounds_hold_as_often_as_they_say(metric: str, confidence: float) -> None:
    """300 holdouts of 400 rows from one world, whose true value is known from very many rows."""
    target, score = rows(123, 400_000)
    truth = statistic(metric, target, score)(np.ones((1, len(target))))[0]
    low = high = 0
    for seed in range(300):
        own_target, own_score = rows(1_000 + seed, 400)
        values = replicate([statistic(metric, own_target, own_score)], Draws(400, seed))[0]
        found = estimate(values, confidence)
        low += found.low <= truth
        high += truth <= found.high
    margin = 3 * math.sqrt(confidence * (1 - confidence) / 300) + 0.01
    assert abs(low / 300 - confidence) < margin
    assert abs(high / 300 - confidence) < margin


@given(confidence=st.floats(0.5, 0.999), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_bounds_enclose_the_value_and_widen_with_confidence(confidence: float, seed: int) -> None:
    target, score = rows(seed, 120)
    values = replicate([statistic("brier", target, score)], Draws(120, seed))[0]
    found, surer = estimate(values, confidence), estimate(values, min(0.9995, confidence + 0.0005))
    assert surer.low <= found.low <= found.value <= found.high <= surer.high
