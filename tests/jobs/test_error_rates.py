"""How often a rule lets a candidate through that it should not, over simulated retrains."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import replace

import numpy as np
import pytest

from jobs import bootstrap
from jobs.measure import Scored, measure_rules
from model_registry.metric_gate import judge
from model_registry.rules import MetricRule
from model_registry.store import Version

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


def _rounds(rows: int, noise: float, rule: MetricRule, rounds: int) -> float:
    """The share of simulated retrains in which the rule lets the candidate through."""
    random = np.random.default_rng(3)
    passed = 0
    for seed in range(rounds):
        signal = random.normal(size=rows)
        target = signal + random.normal(size=rows)
        champion = signal + random.normal(size=rows) * 0.3
        candidate = signal + random.normal(size=rows) * noise
        found = measure_rules([rule], Scored(target, candidate, champion), {}, seed)
        passed += judge(CANDIDATE, replace(CANDIDATE, number=1), found, [rule]).report.passed
    return passed / rounds


MARGIN = 0.03  # the champion's error is sqrt(1 + 0.3**2) = 1.044
RMSE = MetricRule("rmse", not_worse_by=MARGIN)


def test_a_candidate_that_is_worse_by_the_margin_is_rarely_let_through() -> None:
    at_margin = math.sqrt((math.sqrt(1.09) + MARGIN) ** 2 - 1)
    twice = math.sqrt((math.sqrt(1.09) + 2 * MARGIN) ** 2 - 1)
    assert _rounds(1000, at_margin, RMSE, 300) <= 0.09
    assert _rounds(1000, twice, RMSE, 300) <= 0.05


def test_an_equal_candidate_passes_when_the_rows_suffice_and_is_told_when_not() -> None:
    assert _rounds(4000, 0.3, RMSE, 100) >= 0.95
    assert _rounds(200, 0.3, RMSE, 100) <= 0.6


def test_a_better_candidate_passes_and_an_equal_one_is_rarely_called_better() -> None:
    better = MetricRule("rmse", better_by=0.0)
    assert _rounds(1000, 0.0, better, 60) >= 0.95
    assert _rounds(1000, 0.3, better, 200) <= 0.09


def test_a_worse_calibration_is_told_although_the_champion_has_none_to_measure() -> None:
    """The champion's scores are the true chances; by the margin the candidate's are too sure of themselves."""
    random = np.random.default_rng(8)
    signal = random.normal(size=400_000)
    chance, sure = 1 / (1 + np.exp(-signal)), 1 / (1 + np.exp(-1.8 * signal))
    margin = math.sqrt(
        np.mean([np.mean(part) ** 2 for part in np.array_split((sure - chance)[np.argsort(signal)], 10)])
    )
    rule, passed = MetricRule("calibration_error", not_worse_by=margin), 0
    for seed in range(200):
        rows = random.integers(0, 400_000, 500)
        target = (random.random(500) < chance[rows]).astype(float)
        found = measure_rules([rule], Scored(target, sure[rows], chance[rows]), {}, seed)
        passed += judge(CANDIDATE, replace(CANDIDATE, number=1), found, [rule]).report.passed
    assert passed / 200 <= 0.09
