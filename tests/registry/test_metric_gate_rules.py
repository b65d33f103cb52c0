"""Slices, gaps, modes, and what each rule of a metric gate says."""

from __future__ import annotations

from dataclasses import replace

import pytest
from registry.judging import AUC, BY, NAN, Judge, Versions, only, slices, small, whole

from model_registry.codec import from_json, to_json
from model_registry.errors import Misconfigured
from model_registry.evidence import Check
from model_registry.metric_gate import Action, Decision, improved, judge
from model_registry.rules import COSTS, Estimate, Measured, MetricRule, Mode, Subject, TooFew


def test_every_slice_meets_the_bound(first: Judge) -> None:
    decision = first(BY, *slices(BY, EWR=(0.7, 0.65, 0.8), JFK=(0.66, 0.61, 0.7), LGA=(0.9, 0.8, 0.95)))
    check = only(decision)
    assert decision.action is Action.first
    assert check.name == "auc of every origin"
    assert check.expected == "at least 0.6 with 95% confidence, in each of 3"
    assert check.observed == "JFK: 0.66 (surely at least 0.61, 200 rows)"
    assert check.examples == ()


def test_one_slice_that_misses_closes_the_gate_and_is_named(first: Judge) -> None:
    found = slices(BY, EWR=(0.7, 0.65, 0.8), JFK=(0.5, 0.45, 0.55), LGA=(0.7, 0.58, 0.95))
    check = only(first(BY, *found))
    assert check.verdict == "FAILED"
    assert check.examples == ("JFK", "LGA")
    assert check.observed == "JFK: 0.5 (surely at least 0.45, 200 rows)"
    assert check.sentence().endswith("for example JFK, LGA")


def test_slices_that_are_all_undecided_are_undecided(first: Judge) -> None:
    check = only(first(BY, *slices(BY, EWR=(0.7, 0.55, 0.8), JFK=(0.7, 0.59, 0.8), LGA=(0.9, 0.8, 0.95))))
    assert check.verdict == "FAILED (undecided)"
    assert check.examples == ("EWR", "JFK")
    assert check.advice.startswith("200 rows cannot tell, about 450 would")


def test_slices_that_miss_are_eight_at_most(first: Judge) -> None:
    found = slices(BY, **{f"s{n}": (0.3,) for n in range(12)})
    assert only(first(BY, *found)).examples == tuple(f"s{n}" for n in range(8))


def test_a_slice_that_was_not_measured_closes_the_gate(first: Judge) -> None:
    check = only(first(BY, *slices(BY, EWR=(0.7, 0.65, 0.8), JFK=(NAN,), LGA=(0.5, 0.4, 0.6))))
    assert (check.verdict, check.observed, check.examples) == ("FAILED", "JFK: not measured", ("JFK", "LGA"))


@pytest.mark.parametrize(
    ("policy", "verdict", "action"),
    [
        (TooFew.fail, "FAILED (not enough rows)", Action.keep),
        (TooFew.warn, "warned (not enough rows)", Action.first),
        (TooFew.accept, "passed (not enough rows)", Action.first),
    ],
)
def test_small_slices_are_a_question_of_their_own(first: Judge, policy: TooFew, verdict: str, action: Action) -> None:
    rule = replace(BY, too_few=policy)
    rare = whole(rule, 0.2, part="LGA", rows=300, rarer=3)
    decision = first(rule, *slices(rule, EWR=(0.7, 0.65, 0.8)), rare, small(rule, 7, 1340))
    judged, left = decision.report.checks
    assert (judged.verdict, judged.expected.endswith("in each of 1")) == ("passed", True)
    assert (left.name, left.verdict) == ("auc of every origin, small slices", verdict)
    assert (left.observed, left.expected) == (
        "8 not judged, 1,640 rows in all",
        "at least 100 rows and 10 of each class in each",
    )
    assert bool(left.advice) is (policy is not TooFew.accept)
    assert decision.action is action


def test_slices_that_are_all_small_open_nothing(first: Judge) -> None:
    decision = first(BY, small(BY, 7, 1340))
    assert decision.action is Action.keep
    assert [c.observed for c in decision.report.checks] == ["none", "7 not judged, 1,340 rows in all"]
    assert decision.report.checks[0].expected.endswith("over a slice of at least 100 rows")


GAP = MetricRule("mae", largest_gap=0.1, by="origin", too_few=TooFew.accept)


@pytest.mark.parametrize(
    ("ends", "verdict", "word"),
    [
        ((0.05, 0.02, 0.1), "passed", ""),
        ((0.05, 0.0, 0.12), "FAILED (undecided)", "about 400 would: lengthen"),
        ((0.05, 0.0, 0.2), "FAILED (undecided)", "slices that are all alike would be held back more often than not"),
        ((0.15, 0.05, 0.2), "FAILED", "may be chance"),
        ((0.15, 0.12, 0.2), "FAILED", ""),
    ],
)
def test_the_largest_gap_is_bounded(first: Judge, ends: tuple[float, ...], verdict: str, word: str) -> None:
    gap = whole(GAP, *ends, pair=("EWR", "JFK"), rows=200)
    decision = first(GAP, *slices(GAP, EWR=(7.0,), JFK=(7.05,)), gap)
    check = only(decision)
    assert (check.name, check.verdict) == ("mae by origin, largest gap", verdict)
    assert check.expected == "at most 0.1 between the best and the worst origin with 95% confidence"
    between = f"{ends[0]:g} between EWR and JFK (surely at most {ends[2]:g}, 200 rows in the smaller)"
    assert (check.observed, check.examples) == (between, ())
    assert word in check.advice
    assert bool(word) is bool(check.advice)


def test_a_gap_needs_two_slices(first: Judge) -> None:
    gap = whole(GAP, NAN, pair=("", ""), rows=0)
    decision = first(GAP, *slices(GAP, EWR=(7.0,)), gap)
    check = only(decision)
    assert (check.verdict, check.observed) == ("passed (not enough rows)", "fewer")
    assert check.expected.endswith("over two slices of at least 100 rows")
    assert decision.action is Action.keep


def test_each_bound_of_a_rule_is_a_question(against: Judge) -> None:
    rule = MetricRule("auc", 0.6, 0.95, 0.02, None, "origin", 0.2)
    found = [replace(m, worse_by=Estimate.exact(0.01), champion=Estimate.exact(0.71)) for m in slices(rule, EWR=(0.7,))]
    gap = whole(rule, 0.1, pair=("EWR", "JFK"))
    decision = against(rule, *found, gap)
    assert [(c.name, c.expected) for c in decision.report.checks] == [
        ("auc of every origin", "at least 0.6 with 95% confidence, in each of 1"),
        ("auc of every origin", "at most 0.95 with 95% confidence, in each of 1"),
        (
            "auc of every origin against production",
            "at most 0.02 worse than the champion with 95% confidence, in each of 1",
        ),
        ("auc by origin, largest gap", "at most 0.2 between the best and the worst origin with 95% confidence"),
    ]
    assert decision.action is Action.promote
    assert decision.report.checks[2].observed == (
        "EWR: 0.7 against 0.71, 0.01 worse (surely at most 0.01 worse, 200 rows)"
    )


@pytest.mark.parametrize(("confidence", "words"), [(0.9, "90%"), (0.999, "99.9%"), (0.5, "50%")])
def test_the_confidence_is_said_as_it_is(first: Judge, confidence: float, words: str) -> None:
    rule = replace(AUC, confidence=confidence)
    assert only(first(rule, whole(rule, 0.9))).expected == f"at least 0.6 with {words} confidence"


def test_changed_predictions_read_as_a_sentence(against: Judge, first: Judge) -> None:
    rule = MetricRule("changed_predictions", at_most=0.1, change=0.05)
    assert only(against(rule, whole(rule, 0.02, 0.01, 0.03))).sentence() == (
        "predictions that change by more than 0.05 on the holdout passed: expected at most 0.1 with 95% confidence, "
        "observed 0.02 (surely at most 0.03, 1,000 rows)"
    )
    decision = first(rule)
    assert only(decision).observed == "no champion yet"
    assert decision.action is Action.first


@pytest.mark.parametrize("metric", COSTS)
def test_costs_have_no_noise_and_need_no_rows(first: Judge, metric: str) -> None:
    rule = MetricRule(metric, at_most=2.0)
    check = only(first(rule, whole(rule, 1.5, rows=3)))
    assert (check.passed, check.observed, check.expected) == (True, 1.5, "at most 2")
    assert not first(rule, whole(rule, 2.1, rows=3)).report.passed


def test_what_is_off_is_not_asked_and_stays_visible(version_of: Versions) -> None:
    off = replace(AUC, mode=Mode.off)
    by = replace(BY, mode=Mode.off)
    brier = MetricRule("brier", at_most=0.2)
    found = [whole(off, 0.1), whole(brier, 0.1), small(by, 3, 12)]
    decision = judge(version_of(1), None, found, [off, by, brier])
    assert [(c.verdict, c.observed) for c in decision.report.checks] == [
        ("off", "not asked"),
        ("off", "not asked"),
        ("passed", 0.1),
    ]
    assert decision.report.verdict().endswith("is open: 1 check evaluated, 2 off.")
    assert decision.action is Action.first


def test_a_gate_that_is_all_off_is_closed_and_says_so(first: Judge) -> None:
    decision = first(replace(AUC, mode=Mode.off), whole(AUC, 0.9))
    assert decision.action is Action.keep
    assert decision.report.verdict().endswith("is closed: no check was evaluated: all of them are off.")


def test_a_warning_opens_the_gate_and_is_counted(version_of: Versions) -> None:
    rules = [replace(AUC, mode=Mode.warn), MetricRule("brier", at_most=0.2)]
    decision = judge(version_of(2), version_of(1), [whole(rules[0], 0.5), whole(rules[1], 0.1)], rules)
    assert decision.action is Action.promote
    assert decision.report.verdict().endswith("is open: 2 checks evaluated, 1 warned.")


def test_behaviour_and_notes_count_and_are_kept(version_of: Versions) -> None:
    bad = Check("scores stay when the row order changes", passed=False, observed="3 changed", expected="none")
    decision = judge(version_of(1), None, [whole(AUC, 0.9)], [AUC], [bad], ["on 7 days"])
    assert decision.action is Action.keep
    assert decision.report.checks[1] == bad
    assert decision.report.notes == ("on 7 days",)
    assert from_json(Decision, to_json(decision)) == decision


def test_a_gate_without_rules_is_an_error(version_of: Versions) -> None:
    with pytest.raises(
        Misconfigured, match="flight_delays has no metric gate; add at least one rule under metric_gates"
    ):
        judge(version_of(1), None, [], [])


def test_a_rule_that_asks_nothing_is_an_error(version_of: Versions) -> None:
    rules = [MetricRule("rmse", at_most=5), MetricRule("auc")]
    with pytest.raises(Misconfigured, match="The rule on auc of flight_delays asks nothing: give it a bound"):
        judge(version_of(1), None, [whole(rules[0], 3.0)], rules)


@pytest.mark.parametrize(
    "other",
    [
        replace(AUC, metric="brier"),
        replace(AUC, confidence=0.9),
        replace(AUC, by="origin"),
        replace(AUC, change=0.1),
    ],
    ids=repr,
)
def test_a_rule_is_answered_by_its_own_measurements_only(first: Judge, other: MetricRule) -> None:
    assert not first(AUC, whole(other, 0.9)).report.passed


def test_slices_of_another_size_answer_another_rule(version_of: Versions) -> None:
    """Two rules on one metric and column, one for large slices: neither takes what the other left unmeasured."""
    large = replace(BY, at_least=0.5, minimum_rows=500)
    found = [*slices(BY, EWR=(0.7,), JFK=(0.8,)), small(large, 2, 400)]
    decision = judge(version_of(1), None, found, [BY, large, MetricRule("rmse", at_most=2, mode=Mode.off)])
    assert decision.report.checks[0].verdict == "passed"
    assert decision.report.checks[1].observed == "none"


def test_rules_with_one_subject_share_what_was_measured(version_of: Versions) -> None:
    strict = replace(AUC, at_least=0.8, mode=Mode.warn, too_few=TooFew.warn)
    decision = judge(version_of(1), None, [whole(AUC, 0.7)], [AUC, strict])
    assert [c.verdict for c in decision.report.checks] == ["passed", "warned"]
    assert AUC.subject == Subject("auc", 0.95)
    assert BY.subject == Subject("auc", 0.95, "origin", None, 100)


@pytest.mark.parametrize(
    ("rules", "measured", "better"),
    [
        ([AUC], [whole(AUC, 0.7, worse=(-0.02, -0.03, -0.01))], True),
        ([AUC], [whole(AUC, 0.7, worse=(-0.02, -0.03, 0.0))], False),
        ([AUC], [whole(AUC, 0.7)], False),
        ([AUC], [], False),
        ([BY, AUC], [whole(BY, 0.7, part="EWR", worse=(0.1,)), whole(AUC, 0.7, worse=(-0.02,))], True),
        ([MetricRule("artifact_mb", at_most=9)], [], False),
        (
            [MetricRule("changed_predictions", at_most=1, change=0.1), AUC, MetricRule("brier", at_most=1)],
            [whole(MetricRule("brier", at_most=1), 0.1, worse=(0.1,)), whole(AUC, 0.7, worse=(-0.1,))],
            True,
        ),
    ],
)
def test_improved_is_better_for_sure_by_the_first_metric(
    rules: list[MetricRule], measured: list[Measured], better: bool
) -> None:
    assert improved(measured, rules) is better
