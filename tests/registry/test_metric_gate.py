"""The metric gate: what it decides, what it says, and that it is closed unless every bound holds with confidence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_registry.evidence import TOO_FEW, UNDECIDED, Check
from model_registry.metric_gate import Action, Decision, judge
from model_registry.rules import Estimate, Measured, MetricRule, Mode, TooFew
from model_registry.store import Version

Versions = Callable[..., Version]
AUC = MetricRule("auc", at_least=0.6)
SAFE = MetricRule("auc", not_worse_by=0.02)
NAN = Estimate.exact(math.nan)


def auc(value: float, spread: float = 0.01, rows: int = 5000, **fields: Any) -> Measured:
    """An AUC on the holdout, its certain bounds that far on either side."""
    return Measured("auc", 0.95, rows, Estimate(value, value - spread, value + spread), **fields)


def compared(value: float, champion: float, spread: float = 0.01, rows: int = 5000, **fields: Any) -> Measured:
    """The same beside the champion's, the difference as certain."""
    worse = champion - value
    return replace(
        auc(value, spread, rows, **fields),
        champion=Estimate(champion, champion - spread, champion + spread),
        worse_by=Estimate(worse, worse - spread, worse + spread),
    )


@pytest.fixture
def gate(version_of: Versions) -> Callable[..., Decision]:
    """Judge version 2 against version 1 (or no champion)."""

    def decide(measured: Any, *rules: MetricRule, first: bool = False, behaviour: tuple[Check, ...] = ()) -> Decision:
        found = [measured] if isinstance(measured, Measured) else measured
        return judge(version_of(2), None if first else version_of(1), found, rules, behaviour, ("a note",))

    return decide


# What it decides


def test_the_first_candidate_becomes_champion(gate: Any) -> None:
    decision = gate(auc(0.71), replace(AUC, not_worse_by=0.01), first=True)
    assert decision.action is Action.first
    assert decision.verdict() == (
        "flight_delays version 2 becomes the first champion. "
        "The metric gate of flight_delays version 2 is open: 2 checks evaluated."
    )
    assert [c.observed for c in decision.report.checks] == ["0.71 (surely at least 0.7, 5,000 rows)", "no champion yet"]
    assert decision.report.checks[1].expected == "nothing, for a first version"
    assert decision.report.notes == ("a note",)


def test_a_candidate_that_is_surely_not_worse_replaces_the_champion(gate: Any) -> None:
    decision = gate(compared(0.705, 0.71), SAFE)
    assert decision.action is Action.promote
    assert decision.headline() == "flight_delays version 2 replaces version 1."
    assert decision.report.checks[0].sentence() == (
        "auc against production passed: expected at most 0.02 worse than the champion with 95% confidence, "
        "observed 0.705 against 0.71: 0.005 worse (surely at most 0.015 worse, 5,000 rows)"
    )


def test_a_worse_candidate_is_kept_back(gate: Any) -> None:
    decision = gate(compared(0.66, 0.71), SAFE)
    assert decision.action is Action.keep
    assert decision.verdict() == (
        "Version 1 stays; flight_delays version 2 is not promoted. The metric gate of flight_delays version 2 is "
        "closed: auc against production FAILED: expected at most 0.02 worse than the champion with 95% confidence, "
        "observed 0.66 against 0.71: 0.05 worse (surely at most 0.06 worse, 5,000 rows)."
    )


def test_a_first_candidate_that_fails_is_not_promoted(gate: Any) -> None:
    decision = gate(auc(0.55), AUC, first=True)
    assert decision.action is Action.keep
    assert decision.verdict().startswith("Nothing is promoted; flight_delays version 2 is not promoted.")


def test_the_champion_itself_is_kept_and_said_so(version_of: Versions) -> None:
    decision = judge(version_of(1), version_of(1), [auc(0.71)], [AUC])
    assert decision.report.passed
    assert decision.action is Action.keep
    assert decision.headline() == "flight_delays version 1 is in production already; nothing changes."


def test_one_rule_that_fails_among_many_closes_the_gate(gate: Any) -> None:
    decision = gate([compared(0.71, 0.71)], AUC, SAFE, MetricRule("auc", at_most=0.7))
    assert decision.action is Action.keep
    assert [c.passed for c in decision.report.checks] == [True, True, False]


@pytest.mark.parametrize(("passed", "action"), [(True, Action.promote), (False, Action.keep)])
def test_checks_on_behaviour_count_alike(gate: Any, passed: bool, action: Action) -> None:
    probe = Check("scores with nulls", passed, "2 of 3 features fail", "finite scores")
    assert gate(compared(0.71, 0.7), SAFE, behaviour=(probe,)).action is action


# With confidence


@pytest.mark.parametrize(
    ("rule", "value", "outcome"),
    [
        (AUC, 0.65, "passed"),
        (AUC, 0.61, "passed"),
        (AUC, 0.6099, "FAILED (undecided)"),
        (AUC, 0.6, "FAILED (undecided)"),
        (AUC, 0.5999, "FAILED"),
        (MetricRule("auc", at_most=0.9), 0.89, "passed"),
        (MetricRule("auc", at_most=0.9), 0.8901, "FAILED (undecided)"),
        (MetricRule("auc", at_most=0.9), 0.9001, "FAILED"),
    ],
)
def test_a_bound_of_its_own_must_hold_at_the_certain_end(
    gate: Any, rule: MetricRule, value: float, outcome: str
) -> None:
    check = gate(auc(value), rule).report.checks[0]
    assert check.verdict == outcome
    assert check.passed is (outcome == "passed")


@pytest.mark.parametrize(
    ("rule", "value", "outcome"),
    [
        (SAFE, 0.7, "passed"),
        (SAFE, 0.69, "passed"),
        (SAFE, 0.6899, "FAILED (undecided)"),
        (SAFE, 0.68, "FAILED (undecided)"),
        (SAFE, 0.6799, "FAILED"),
        (MetricRule("auc", better_by=0.02), 0.73, "passed"),
        (MetricRule("auc", better_by=0.02), 0.7299, "FAILED (undecided)"),
        (MetricRule("auc", better_by=0.02), 0.7199, "FAILED"),
        (MetricRule("auc", better_by=0.0), 0.71, "passed"),
        (MetricRule("auc", better_by=0.0), 0.705, "FAILED (undecided)"),
        (MetricRule("auc", not_worse_by=0.0), 0.699, "FAILED"),
    ],
)
def test_a_comparison_must_hold_at_the_certain_end(gate: Any, rule: MetricRule, value: float, outcome: str) -> None:
    assert gate(compared(value, 0.7), rule).report.checks[0].verdict == outcome


def test_what_is_undecided_says_how_many_rows_would_tell(gate: Any) -> None:
    check = gate(auc(0.605, rows=1000), AUC).report.checks[0]
    assert check.outcome == UNDECIDED
    assert check.advice == (
        "1,000 rows cannot tell, about 4,000 rows would tell: lengthen training.holdout, or promote with --override"
    )


def test_a_value_at_the_bound_itself_is_never_told(gate: Any) -> None:
    assert "no number of rows would tell" in gate(auc(0.6), AUC).report.checks[0].advice


def test_a_margin_that_is_narrower_than_the_noise_is_told(gate: Any) -> None:
    check = gate(compared(0.71, 0.71, spread=0.03), SAFE).report.checks[0]
    assert check.outcome == UNDECIDED
    assert "the noise, 0.03, is wider than the margin: not even an equally good version can pass here" in check.advice
    assert "promote with --override" in check.advice
    wide = gate(compared(0.699, 0.71, spread=0.015), SAFE).report.checks[0]
    assert wide.outcome == UNDECIDED
    assert "not even" not in wide.advice


@given(needed=st.floats(0.001, 0.02), rows=st.integers(100, 10**6))
def test_the_rows_that_would_tell_shrink_the_noise_to_the_slack(needed: float, rows: int) -> None:
    version = Version("m", "d", "s", "p", None, None, "r", "u", number=2)  # type: ignore[arg-type]
    check = judge(version, None, [auc(0.6 + needed, 0.03, rows)], [AUC]).report.checks[0]
    told = int(check.advice.split("about ")[1].split(" rows")[0].replace(",", ""))
    exact = rows * (0.03 / needed) ** 2
    assert exact <= told * 1.000001
    assert told <= exact * 1.11


# Not measured, not enough rows


@pytest.mark.parametrize("measured", [[], [Measured("brier", 0.95, 500, Estimate.exact(0.1))]], ids=["none", "another"])
@pytest.mark.parametrize(
    "rule", [AUC, MetricRule("auc", at_most=0.9), SAFE, replace(AUC, too_few=TooFew.accept)], ids=str
)
def test_what_was_not_measured_does_not_pass(gate: Any, measured: list[Measured], rule: MetricRule) -> None:
    decision = gate(measured, rule)
    assert decision.action is Action.keep
    assert decision.report.failures[0].observed == "not measured"


@pytest.mark.parametrize("measured", [Measured("auc", 0.95, 500, NAN), auc(0.9)], ids=["nan", "no comparison"])
def test_what_is_no_number_does_not_pass(gate: Any, measured: Measured) -> None:
    rule = AUC if math.isnan(measured.candidate.value) else SAFE
    check = gate(measured, rule).report.checks[0]
    assert (check.passed, check.observed, check.outcome) == (False, "not measured", "")


@pytest.mark.parametrize("other", [{"confidence": 0.9}, {"by": "origin"}, {"change": 0.2}], ids=str)
def test_a_measurement_of_something_else_does_not_answer(gate: Any, other: dict[str, Any]) -> None:
    assert not gate(auc(0.9), replace(AUC, **other)).report.passed


@pytest.mark.parametrize(
    ("policy", "mode", "verdict", "passed"),
    [
        (TooFew.fail, Mode.enforce, "FAILED (not enough rows)", False),
        (TooFew.warn, Mode.enforce, "warned (not enough rows)", True),
        (TooFew.accept, Mode.enforce, "passed (not enough rows)", True),
        (TooFew.fail, Mode.warn, "warned (not enough rows)", True),
    ],
)
def test_a_small_holdout_is_an_outcome_with_a_policy(
    gate: Any, policy: TooFew, mode: Mode, verdict: str, passed: bool
) -> None:
    rule = replace(AUC, minimum_rows=200, too_few=policy, mode=mode)
    brier = Measured("brier", 0.95, 500, Estimate.exact(0.1))
    report = gate([auc(0.9, rows=199), brier], rule, MetricRule("brier", at_most=0.2)).report
    check = report.checks[0]
    assert (check.verdict, check.outcome, report.passed) == (verdict, TOO_FEW, passed)
    assert (check.observed, check.expected) == ("199 rows", "at least 0.6 with 95% confidence, over at least 200 rows")
    assert ("promote with --override" in check.advice) is (policy is not TooFew.accept)
    assert gate(auc(0.9, rows=200), rule).report.checks[0].verdict == "passed"
