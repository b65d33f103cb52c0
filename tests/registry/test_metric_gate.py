"""The metric gate: what it decides, what it says, and that it is closed unless every rule is met."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_registry.errors import Misconfigured
from model_registry.metric_gate import HIGHER_IS_BETTER, Action, MetricRule, judge
from model_registry.store import Version

Versions = Callable[..., Version]
AUC = MetricRule("auc", at_least=0.6)


def test_the_first_candidate_becomes_champion(version_of: Versions) -> None:
    decision = judge(version_of(1), None, {"auc": 0.71}, None, [MetricRule("auc", at_least=0.6, not_worse_by=0.01)])
    assert decision.action is Action.first
    assert decision.verdict() == (
        "flight_delays version 1 becomes the first champion. "
        "The metric gate of flight_delays version 1 is open: 2 checks evaluated."
    )
    assert [c.observed for c in decision.report.checks] == [0.71, "no champion yet"]


def test_a_better_candidate_replaces_the_champion(version_of: Versions) -> None:
    decision = judge(
        version_of(2), version_of(1), {"auc": 0.72}, {"auc": 0.71}, [MetricRule("auc", not_worse_by=-0.005)]
    )
    assert decision.action is Action.promote
    assert decision.verdict().startswith("flight_delays version 2 replaces version 1. The metric gate")
    assert decision.report.checks[0].sentence() == (
        "auc against production passed: expected no more than -0.005 worse than the champion's 0.71, observed 0.72"
    )


def test_a_worse_candidate_is_kept_back(version_of: Versions) -> None:
    decision = judge(version_of(2), version_of(1), {"auc": 0.66}, {"auc": 0.71}, [MetricRule("auc", not_worse_by=0.01)])
    assert decision.action is Action.keep
    assert decision.verdict() == (
        "Version 1 stays; flight_delays version 2 is not promoted. The metric gate of flight_delays version 2 is "
        "closed: auc against production FAILED: expected no more than 0.01 worse than the champion's 0.71, "
        "observed 0.66."
    )


def test_a_first_candidate_that_fails_is_not_promoted(version_of: Versions) -> None:
    decision = judge(version_of(1), None, {"auc": 0.55}, None, [AUC])
    assert decision.action is Action.keep
    assert decision.verdict().startswith("Nothing is promoted; flight_delays version 1 is not promoted.")


def test_the_champion_itself_is_kept_and_said_so(version_of: Versions) -> None:
    decision = judge(version_of(1), version_of(1), {"auc": 0.71}, {"auc": 0.71}, [AUC])
    assert decision.report.passed
    assert decision.action is Action.keep
    assert decision.verdict() == "flight_delays version 1 is in production already; nothing changes."


@pytest.mark.parametrize("metrics", [{}, {"auc": math.nan}, {"log_loss": 0.1}], ids=["none", "nan", "another"])
@pytest.mark.parametrize(
    "rule", [AUC, MetricRule("auc", at_most=0.9), MetricRule("auc", not_worse_by=0.01)], ids=["least", "most", "worse"]
)
def test_what_was_not_measured_does_not_pass(version_of: Versions, metrics: dict[str, float], rule: MetricRule) -> None:
    decision = judge(version_of(2), version_of(1), metrics, {"auc": 0.5}, [rule])
    assert decision.action is Action.keep
    assert decision.report.failures[0].observed == "not measured"


@pytest.mark.parametrize("baseline", [None, {}, {"auc": math.nan}], ids=["none", "empty", "nan"])
def test_a_champion_that_was_not_measured_is_no_missing_champion(
    version_of: Versions, baseline: dict[str, float] | None
) -> None:
    decision = judge(version_of(2), version_of(1), {"auc": 0.9}, baseline, [MetricRule("auc", not_worse_by=0.01)])
    assert decision.action is Action.keep


@pytest.mark.parametrize(
    ("rule", "observed", "passed"),
    [
        (MetricRule("auc", at_least=0.6), 0.6, True),
        (MetricRule("auc", at_least=0.6), math.nextafter(0.6, 0), False),
        (MetricRule("rmse", at_most=12.0), 12.0, True),
        (MetricRule("rmse", at_most=12.0), math.nextafter(12.0, 13), False),
        (MetricRule("auc", not_worse_by=0.0), 0.75, True),
        (MetricRule("auc", not_worse_by=0.25), 0.5, True),
        (MetricRule("auc", not_worse_by=0.25), 0.4999, False),
        (MetricRule("auc", not_worse_by=-0.25), 1.0, True),
        (MetricRule("auc", not_worse_by=-0.25), 0.9999, False),
        (MetricRule("log_loss", not_worse_by=0.25), 1.0, True),
        (MetricRule("log_loss", not_worse_by=0.25), 1.0001, False),
        (MetricRule("log_loss", not_worse_by=-0.25), 0.5, True),
        (MetricRule("log_loss", not_worse_by=-0.25), 0.5001, False),
    ],
    ids=str,
)
def test_the_boundary_itself_passes(version_of: Versions, rule: MetricRule, observed: float, passed: bool) -> None:
    champion = {"auc": 0.75, "log_loss": 0.75}
    decision = judge(version_of(2), version_of(1), {rule.metric: observed}, champion, [rule])
    assert decision.report.passed is passed


@pytest.mark.parametrize(("champion", "margin", "observed"), [(0.8, 0.01, 0.79), (0.71, 0.005, 0.705), (0.3, 0.1, 0.2)])
def test_the_boundary_is_the_one_that_a_person_reads(
    version_of: Versions, champion: float, margin: float, observed: float
) -> None:
    """0.8 - 0.79 is a little over 0.01 in binary: a candidate exactly at the margin is not kept back for that."""
    for metric, value in (("auc", observed), ("brier", champion)):
        reference = champion if metric == "auc" else observed
        rule = MetricRule(metric, not_worse_by=margin)
        decision = judge(version_of(2), version_of(1), {metric: value}, {metric: reference}, [rule])
        assert decision.report.passed, decision.verdict()


@pytest.mark.parametrize(
    ("metric", "better"),
    [(m, 0.6) for m in ("auc", "average_precision", "r2")] + [(m, 0.4) for m in ("log_loss", "brier", "rmse", "mae")],
)
def test_each_metric_knows_which_way_is_better(version_of: Versions, metric: str, better: float) -> None:
    rules = [MetricRule(metric, not_worse_by=0.0)]
    actions = [
        judge(version_of(2), version_of(1), {metric: value}, {metric: 0.5}, rules).action
        for value in (better, 1 - better)
    ]
    assert actions == [Action.promote, Action.keep]


def test_a_gate_without_rules_is_an_error(version_of: Versions) -> None:
    with pytest.raises(
        Misconfigured, match="flight_delays has no metric gate; add at least one rule under metric_gate"
    ):
        judge(version_of(1), None, {"auc": 0.9}, None, [])


def test_a_rule_that_asks_nothing_is_an_error(version_of: Versions) -> None:
    with pytest.raises(Misconfigured, match="rule on auc"):
        judge(version_of(1), None, {"auc": 0.9, "rmse": 3.0}, None, [MetricRule("auc"), MetricRule("rmse", at_most=5)])


BOUNDS = st.none() | st.floats(-2, 2)
RULES = st.builds(MetricRule, st.sampled_from(sorted(HIGHER_IS_BETTER)), BOUNDS, BOUNDS, BOUNDS).filter(
    lambda rule: (rule.at_least, rule.at_most, rule.not_worse_by) != (None, None, None)
)
MEASURED = st.fixed_dictionaries({}, optional={name: st.floats(allow_nan=True) for name in HIGHER_IS_BETTER})


@given(
    metrics=MEASURED, baseline=st.none() | MEASURED, rules=st.lists(RULES, min_size=1, max_size=4), same=st.booleans()
)
def test_every_rule_asks_and_keep_means_failed_or_the_same(
    version_of: Versions,
    metrics: dict[str, float],
    baseline: dict[str, float] | None,
    rules: list[MetricRule],
    same: bool,
) -> None:
    champion = None if baseline is None else version_of(2 if same else 1)
    decision = judge(version_of(2), champion, metrics, baseline, rules)
    bounds = [b for rule in rules for b in (rule.at_least, rule.at_most, rule.not_worse_by) if b is not None]
    assert len(decision.report.checks) == len(bounds)
    assert {rule.metric for rule in rules} == {check.name.split()[0] for check in decision.report.checks}
    is_champion = champion is not None and champion.number == 2
    assert (decision.action is Action.keep) == (not decision.report.passed or is_champion)
    assert (decision.action is Action.first) == (decision.report.passed and champion is None)
    assert (decision.candidate, decision.champion) == (version_of(2), champion)
    assert decision.verdict().endswith(".")


@given(
    metric=st.sampled_from(sorted(HIGHER_IS_BETTER)),
    bound=st.floats(-2, 2),
    margin=st.floats(-1, 1),
    champion=st.floats(-2, 2),
    observed=st.floats(-3, 3),
    gain=st.floats(0, 3),
)
def test_a_better_metric_never_closes_an_open_gate(
    version_of: Versions, metric: str, bound: float, margin: float, champion: float, observed: float, gain: float
) -> None:
    higher = HIGHER_IS_BETTER[metric]
    limit: dict[str, Any] = {"at_least": bound} if higher else {"at_most": bound}
    rules = [MetricRule(metric, not_worse_by=margin), MetricRule(metric, **limit)]

    def checks(value: float) -> list[bool]:
        report = judge(version_of(2), version_of(1), {metric: value}, {metric: champion}, rules).report
        return [check.passed for check in report.checks]

    better = observed + gain if higher else observed - gain
    assert all(after or not before for before, after in zip(checks(observed), checks(better), strict=True))
