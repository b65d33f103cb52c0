"""The metric gate over slices, in its modes, on costs, and at the very boundary."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from model_registry.errors import Misconfigured
from model_registry.evidence import Check, GateReport, Severity
from model_registry.metric_gate import Action, Decision, improved, judge
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


def slices(**values: tuple[float, int]) -> list[Measured]:
    return [auc(value, 0.02, rows, by="origin", part=part) for part, (value, rows) in values.items()]


@pytest.fixture
def gate(version_of: Versions) -> Callable[..., Decision]:
    """Judge version 2 against version 1 (or no champion)."""

    def decide(measured: Any, *rules: MetricRule, first: bool = False, behaviour: tuple[Check, ...] = ()) -> Decision:
        found = [measured] if isinstance(measured, Measured) else measured
        return judge(version_of(2), None if first else version_of(1), found, rules, behaviour, ("a note",))

    return decide


# Slices


def test_every_slice_that_is_large_enough_must_hold(gate: Any) -> None:
    rule = MetricRule("auc", at_least=0.6, by="origin", minimum_rows=300, too_few=TooFew.accept)
    check = gate(slices(EWR=(0.7, 900), JFK=(0.65, 300), LGA=(0.1, 299)), rule).report.checks[0]
    assert (check.name, check.passed) == ("auc of every origin", True)
    assert check.observed == "JFK 0.65 (surely at least 0.63, 300 rows)"
    assert check.expected == "at least 0.6 with 95% confidence, in each of 2"
    assert check.advice == "not judged: 1 with fewer than 300 rows each, 299 in all"


def test_slices_that_fail_are_named_the_worst_first(gate: Any) -> None:
    rule = MetricRule("auc", at_least=0.6, by="origin")
    check = gate(slices(EWR=(0.5, 900), JFK=(0.9, 900), LGA=(0.4, 900)), rule).report.checks[0]
    assert (check.verdict, check.examples) == ("FAILED", ("EWR", "LGA"))
    assert str(check.observed).startswith("LGA 0.4 ")


def test_a_slice_that_cannot_tell_leaves_the_rule_undecided(gate: Any) -> None:
    rule = MetricRule("auc", at_least=0.6, by="origin")
    found = slices(EWR=(0.9, 900), LGA=(0.61, 400))
    check = gate(found, rule).report.checks[0]
    assert (check.verdict, check.examples) == ("FAILED (undecided)", ("LGA",))
    assert check.advice.startswith("400 rows cannot tell, about 1,600 rows would tell")
    assert gate([*found, *slices(JFK=(0.3, 900))], rule).report.checks[0].verdict == "FAILED"
    unknown = replace(found[0], part="XXX", candidate=NAN)
    assert gate([*found, unknown], rule).report.checks[0].observed == "not measured"


def test_slices_that_are_all_too_small_are_told(gate: Any) -> None:
    rule = MetricRule("auc", at_least=0.6, by="origin", too_few=TooFew.fail)
    check = gate(slices(EWR=(0.9, 99), LGA=(0.9, 50)), rule).report.checks[0]
    assert (check.verdict, check.observed) == ("FAILED (not enough rows)", "99 rows in the largest")
    assert gate([], replace(rule, too_few=TooFew.accept)).report.passed is False


def test_slices_are_compared_with_the_champion_too(gate: Any) -> None:
    rule = MetricRule("auc", not_worse_by=0.02, by="origin")
    found = [compared(0.7, 0.7, by="origin", part="EWR"), compared(0.6, 0.7, by="origin", part="LGA")]
    check = gate(found, rule).report.checks[0]
    assert (check.name, check.examples) == ("auc of every origin against production", ("LGA",))
    assert check.observed == "LGA 0.6 against 0.7: 0.1 worse (surely at most 0.11 worse, 5,000 rows)"


@pytest.mark.parametrize(("gap", "verdict"), [(0.1, "passed"), (0.14, "FAILED (undecided)"), (0.16, "FAILED")])
def test_the_largest_gap_between_slices_is_bounded(gate: Any, gap: float, verdict: str) -> None:
    rule = MetricRule("auc", by="origin", largest_gap=0.15)
    found = [*slices(EWR=(0.9, 900)), auc(gap, 0.02, 400, by="origin", pair=("LGA", "EWR"))]
    check = gate(found, rule).report.checks[0]
    assert (check.name, check.verdict) == ("auc by origin, largest gap", verdict)
    assert check.observed == f"LGA and EWR {gap:g} (surely at most {gap + 0.02:.4g}, 400 rows)"
    assert check.expected == "at most 0.15 between the best and the worst origin with 95% confidence"


# Modes, costs, changed predictions


def test_a_rule_that_warns_does_not_close_and_one_that_is_off_is_not_asked(gate: Any) -> None:
    report = gate(auc(0.5), replace(AUC, mode=Mode.warn), replace(AUC, mode=Mode.off)).report
    assert report.passed
    assert [c.severity for c in report.checks] == [Severity.warning, Severity.off]
    assert [c.verdict for c in report.checks] == ["warned", "off"]
    assert report.checks[1].observed == "not asked"
    assert report.verdict().endswith("is open: 1 check evaluated, 1 warned, 1 off.")


def test_a_gate_whose_rules_are_all_off_is_closed(gate: Any) -> None:
    decision = gate(auc(0.9), replace(AUC, mode=Mode.off))
    assert decision.action is Action.keep
    assert decision.report.verdict().endswith("is closed: no check was evaluated.")


@pytest.mark.parametrize(("mode", "severity"), [(Mode.enforce, Severity.error), (Mode.warn, Severity.warning)])
def test_a_first_version_is_not_compared(gate: Any, mode: Mode, severity: Severity) -> None:
    rules = (replace(SAFE, mode=mode), MetricRule("changed_predictions", at_most=0.1, change=0.2, mode=mode))
    checks = gate([], *rules, first=True).report.checks
    assert [(c.passed, c.observed, c.severity) for c in checks] == [(True, "no champion yet", severity)] * 2


def test_costs_have_no_sampling_error_and_no_smallest_number_of_rows(gate: Any) -> None:
    rule = MetricRule("artifact_mb", at_most=10)
    check = gate(Measured("artifact_mb", 0.95, 3, Estimate.exact(9.5)), rule).report.checks[0]
    assert (check.verdict, check.observed, check.expected) == ("passed", 9.5, "at most 10")
    assert check.name == "artifact mb on the holdout"
    assert not gate(Measured("artifact_mb", 0.95, 3, Estimate.exact(10.5)), rule).report.passed


def test_changed_predictions_say_what_a_change_is(gate: Any) -> None:
    rule = MetricRule("changed_predictions", at_most=0.1, change=0.25)
    found = Measured("changed_predictions", 0.95, 500, Estimate(0.05, 0.04, 0.06), change=0.25)
    check = gate(found, rule).report.checks[0]
    assert (check.name, check.passed) == ("predictions that change by more than 0.25 on the holdout", True)


# The boundary


@pytest.mark.parametrize(
    ("rule", "estimate", "passed"),
    [
        (MetricRule("auc", at_least=0.6), 0.6, True),
        (MetricRule("auc", at_least=0.6), 0.6 - 1e-9, False),
        (MetricRule("rmse", at_most=12.0), 12.0, True),
        (MetricRule("rmse", at_most=12.0), 12.0 + 1e-9, False),
    ],
)
def test_the_boundary_itself_passes(gate: Any, rule: MetricRule, estimate: float, passed: bool) -> None:
    measured = Measured(rule.metric, 0.95, 500, Estimate.exact(estimate))
    assert gate(measured, rule).report.passed is passed


@pytest.mark.parametrize(("champion", "margin", "observed"), [(0.8, 0.01, 0.79), (0.71, 0.005, 0.705), (0.3, 0.1, 0.2)])
def test_the_boundary_is_the_one_that_a_person_reads(
    gate: Any, champion: float, margin: float, observed: float
) -> None:
    measured = compared(observed, champion, spread=0.0)
    assert gate(measured, MetricRule("auc", not_worse_by=margin)).report.passed
    assert not gate(measured, MetricRule("auc", not_worse_by=margin - 1e-6)).report.passed


def test_a_gate_that_asks_nothing_is_an_error(gate: Any) -> None:
    with pytest.raises(Misconfigured, match="flight_delays has no metric gate; add at least one rule"):
        gate(auc(0.9))
    with pytest.raises(Misconfigured, match="The rule on auc of flight_delays asks nothing: give it a bound"):
        gate(auc(0.9), AUC, MetricRule("auc"))


# Better than the champion


@pytest.mark.parametrize(("value", "better"), [(0.711, True), (0.7099, False), (0.69, False)])
def test_improved_is_surely_better_by_the_first_metric(value: float, better: bool) -> None:
    rules = [MetricRule("artifact_mb", at_most=3), MetricRule("changed_predictions", at_most=1, change=0.1), SAFE]
    brier = replace(compared(0.9, 0.1), metric="brier")
    found = [brier, compared(0.9, 0.1, by="origin", part="EWR"), compared(value, 0.7)]
    assert improved(found, rules) is better
    assert improved([auc(0.9)], rules) is False
    assert improved(found, rules[:2]) is False


def test_a_report_names_three_failures_and_counts_the_rest(gate: Any) -> None:
    report: GateReport = gate(auc(0.1), *[MetricRule("auc", at_least=n / 10) for n in range(5, 10)]).report
    assert report.verdict().endswith("; and 2 more.")
    assert len(report.failures) == 5


@pytest.mark.parametrize("policy", list(TooFew))
def test_a_metric_that_is_missing_closes_whatever_the_policy_on_few_rows(gate: Any, policy: TooFew) -> None:
    assert gate([], replace(AUC, too_few=policy)).action is Action.keep


def test_a_gate_without_any_answer_is_closed(gate: Any) -> None:
    rule = MetricRule("auc", at_least=0.6, by="origin", too_few=TooFew.accept)
    decision = gate(slices(EWR=(0.9, 20), LGA=(0.9, 30)), rule)
    assert decision.action is Action.keep
    assert decision.report.verdict().endswith("is closed: there were not enough rows for any of its checks.")
    assert gate([*slices(EWR=(0.9, 20)), auc(0.9)], rule, AUC).action is Action.promote


def test_a_value_almost_at_the_bound_is_told(gate: Any) -> None:
    assert "no number of rows would tell" in gate(auc(0.6 + 1e-300 + 1e-16), AUC).report.checks[0].advice


def test_a_confidence_is_shown_as_it_is(gate: Any) -> None:
    rule = replace(AUC, confidence=0.999)
    assert (
        gate(replace(auc(0.9), confidence=0.999), rule).report.checks[0].expected
        == "at least 0.6 with 99.9% confidence"
    )
