"""A bound is met for sure, or missed, or undecided; and too few rows are no answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
from registry.judging import AUC, Judge, Versions, only, whole

from model_registry.evidence import Severity
from model_registry.metric_gate import Action, judge
from model_registry.questions import REMEDY
from model_registry.rules import Estimate, Measured, MetricRule, Mode, TooFew


@pytest.mark.parametrize(
    ("rule", "ends", "verdict"),
    [
        (MetricRule("auc", at_least=0.6), (0.65, 0.6, 0.7), "passed"),
        (MetricRule("auc", at_least=0.6), (0.65, 0.59, 0.7), "FAILED (undecided)"),
        (MetricRule("auc", at_least=0.6), (0.59, 0.5, 0.7), "FAILED"),
        (MetricRule("rmse", at_most=12), (11, 10, 12), "passed"),
        (MetricRule("rmse", at_most=12), (11, 10, 12.5), "FAILED (undecided)"),
        (MetricRule("rmse", at_most=12), (12.5, 11, 13), "FAILED"),
        (replace(AUC, mode=Mode.warn), (0.65, 0.59, 0.7), "warned (undecided)"),
        (replace(AUC, mode=Mode.warn), (0.59, 0.59, 0.59), "warned"),
        (replace(AUC, mode=Mode.warn), (0.65, 0.61, 0.7), "passed"),
        (replace(AUC, mode=Mode.off), (0.59, 0.59, 0.59), "off"),
    ],
    ids=str,
)
def test_a_bound_is_met_for_sure_or_missed_or_undecided(
    first: Judge, rule: MetricRule, ends: tuple[float, float, float], verdict: str
) -> None:
    assert only(first(rule, whole(rule, *ends))).verdict == verdict


@pytest.mark.parametrize(
    ("rule", "worse", "verdict"),
    [
        (MetricRule("auc", not_worse_by=0.01), (0.0, -0.01, 0.01), "passed"),
        (MetricRule("auc", not_worse_by=0.01), (0.0, -0.02, 0.02), "FAILED (undecided)"),
        (MetricRule("auc", not_worse_by=0.01), (0.02, 0.0, 0.04), "FAILED"),
        (MetricRule("auc", better_by=0.01), (-0.02, -0.03, -0.01), "passed"),
        (MetricRule("auc", better_by=0.01), (-0.02, -0.04, 0.0), "FAILED (undecided)"),
        (MetricRule("auc", better_by=0.01), (0.0, -0.03, 0.01), "FAILED"),
    ],
    ids=str,
)
def test_production_is_compared_with_confidence(
    against: Judge, rule: MetricRule, worse: tuple[float, float, float], verdict: str
) -> None:
    assert only(against(rule, whole(rule, 0.7, worse=worse))).verdict == verdict


@pytest.mark.parametrize(
    ("rule", "measured", "advice"),
    [
        (
            AUC,
            whole(AUC, 0.65, 0.55, 0.7),
            "1,000 rows cannot tell, about 4,000 would: " + REMEDY,
        ),
        (
            AUC,
            whole(AUC, 0.6, 0.55, 0.7),
            (
                "1,000 rows cannot tell, and no number of rows would: "
                "lengthen training.holdout, and training.window by as much, or promote with --override"
            ),
        ),
        (
            AUC,
            whole(AUC, 0.59, 0.55, 0.7),
            "with 1,000 rows this may be chance: lengthen training.holdout, and training.window by as much",
        ),
        (AUC, whole(AUC, 0.5, 0.45, 0.55), ""),
        (
            MetricRule("auc", not_worse_by=0.01),
            whole(MetricRule("auc", not_worse_by=0.01), 0.7, worse=(0.005, -0.02, 0.03)),
            (
                "1,000 rows cannot tell, about 25,000 would; the noise, 0.025, is wider than the 0.01 allowed: "
                "even a version as good as the champion would be held back more often than not: "
                "lengthen training.holdout, and training.window by as much, or promote with --override"
            ),
        ),
        (
            MetricRule("auc", not_worse_by=0.03),
            whole(MetricRule("auc", not_worse_by=0.03), 0.7, worse=(0.01, -0.02, 0.035)),
            "1,000 rows cannot tell, about 1,600 would: " + REMEDY,
        ),
        (
            MetricRule("auc", not_worse_by=0.01),
            whole(MetricRule("auc", not_worse_by=0.01), 0.7, worse=(0.02, -0.02, 0.06)),
            (
                "with 1,000 rows this may be chance; the noise, 0.04, is wider than the 0.01 allowed: "
                "even a version as good as the champion would be held back more often than not: "
                "lengthen training.holdout, and training.window by as much"
            ),
        ),
        (
            MetricRule("auc", better_by=0.01),
            whole(MetricRule("auc", better_by=0.01), 0.7, worse=(-0.02, -0.05, 0.01)),
            (
                "1,000 rows cannot tell, about 9,000 would; with so many rows only a version at least 0.04 better can "
                "pass: lengthen training.holdout, and training.window by as much, or promote with --override"
            ),
        ),
        (
            MetricRule("auc", not_worse_by=0.0),
            whole(MetricRule("auc", not_worse_by=0.0), 0.7, worse=(-0.01, -0.05, 0.03)),
            (
                "1,000 rows cannot tell, about 16,000 would; with so many rows only a version at least 0.04 better can "
                "pass: lengthen training.holdout, and training.window by as much, or promote with --override"
            ),
        ),
    ],
    ids=lambda value: "" if isinstance(value, Measured) else str(value)[:60],
)
def test_what_cannot_be_decided_says_what_would_help(
    against: Judge, rule: MetricRule, measured: Measured, advice: str
) -> None:
    assert only(against(rule, measured)).advice == advice


def test_very_many_rows_are_no_number_of_rows(first: Judge) -> None:
    near = only(first(AUC, whole(AUC, 0.6 + 1.1e-4, 0.5, 0.7)))
    assert "about 830,000,000 would" in near.advice
    assert "no number of rows would" in only(first(AUC, whole(AUC, 0.6 + 0.9e-4, 0.5, 0.7))).advice


@pytest.mark.parametrize(("rows", "many"), [(100, "400"), (123, "500"), (1234, "5,000"), (2, "8"), (1200, "4,800")])
def test_numbers_of_rows_are_rounded_up_to_two_figures(first: Judge, rows: int, many: str) -> None:
    rule = replace(AUC, minimum_rows=2)
    assert f"about {many} would" in only(first(rule, whole(rule, 0.65, 0.55, 0.7, rows=rows))).advice


@pytest.mark.parametrize(
    ("policy", "verdict", "action"),
    [
        (TooFew.fail, "FAILED (not enough rows)", Action.keep),
        (TooFew.warn, "warned (not enough rows)", Action.keep),
        (TooFew.accept, "passed (not enough rows)", Action.keep),
    ],
)
def test_a_small_holdout_alone_opens_nothing(first: Judge, policy: TooFew, verdict: str, action: Action) -> None:
    rule = replace(AUC, too_few=policy)
    decision = first(rule, whole(rule, 0.9, rows=99))
    check = only(decision)
    assert (check.verdict, decision.action) == (verdict, action)
    assert check.observed == "99 rows"
    assert check.expected == "at least 0.6 with 95% confidence, over at least 100 rows"
    advice = "lengthen training.holdout, and training.window by as much, lower minimum_rows, or promote with --override"
    assert check.advice == ("" if policy is TooFew.accept else advice)
    if policy is not TooFew.fail:
        assert decision.report.verdict().endswith("is closed: no check had enough rows for an answer.")


@pytest.mark.parametrize(
    ("policy", "action"), [(TooFew.fail, Action.keep), (TooFew.warn, Action.first), (TooFew.accept, Action.first)]
)
def test_a_small_holdout_beside_a_judged_rule_follows_its_policy(
    version_of: Versions, policy: TooFew, action: Action
) -> None:
    rules = [replace(AUC, too_few=policy, minimum_rows=2000), MetricRule("brier", at_most=0.2)]
    found = [whole(rules[0], 0.9), whole(rules[1], 0.1)]
    decision = judge(version_of(1), None, found, rules)
    assert decision.action is action
    assert len(decision.report.answered) == 1


def test_a_warning_that_has_too_few_rows_stays_a_warning(version_of: Versions) -> None:
    rules = [replace(AUC, mode=Mode.warn, minimum_rows=2000), MetricRule("brier", at_most=0.2)]
    decision = judge(version_of(1), None, [whole(rules[0], 0.9), whole(rules[1], 0.1)], rules)
    assert decision.report.checks[0].severity is Severity.warning
    assert decision.action is Action.first


def test_exactly_enough_rows_are_enough(first: Judge) -> None:
    assert only(first(AUC, whole(AUC, 0.9, rows=100))).verdict == "passed"


@pytest.mark.parametrize(("rarer", "verdict"), [(9, "FAILED (not enough rows)"), (10, "passed"), (0, "FAILED (not")])
def test_a_ranking_needs_both_classes(first: Judge, rarer: int, verdict: str) -> None:
    check = only(first(AUC, whole(AUC, 0.9, rarer=rarer)))
    assert check.verdict.startswith(verdict)
    if not check.passed:
        assert check.observed == f"1,000 rows, {rarer} of the rarer class"
        assert check.expected.endswith("over at least 100 rows and 10 of each class")


def test_a_bound_that_the_champion_misses_too_is_told(against: Judge) -> None:
    check = only(against(AUC, whole(AUC, 0.5, 0.45, 0.55, worse=(-0.1,), champion=Estimate.exact(0.4))))
    assert check.observed == "0.5 (surely at least 0.45, 1,000 rows; the champion 0.4)"
    assert check.advice == "the champion misses this bound too: keeping it is no safer"
    better = only(against(AUC, whole(AUC, 0.5, 0.45, 0.55, worse=(0.2,), champion=Estimate.exact(0.7))))
    assert not better.advice


def test_a_better_candidate_that_other_rules_hold_back_is_called_better(against: Judge) -> None:
    found = whole(AUC, 0.5, 0.45, 0.55, worse=(-0.1, -0.12, -0.08), champion=Estimate.exact(0.4))
    decision = against(AUC, found)
    assert decision.action is Action.keep
    assert decision.report.notes[0] == (
        "flight_delays version 2 is surely better than version 1 by the first metric: other rules fail."
    )
    assert against(AUC, whole(AUC, 0.5, worse=(-0.1, -0.2, 0.0))).report.notes == ()


def test_too_many_changed_predictions_say_what_it_may_mean(against: Judge) -> None:
    rule = MetricRule("changed_predictions", at_most=0.5, change=0.1)
    check = only(against(rule, whole(rule, 0.9)))
    assert check.advice.startswith("the longer nothing was promoted, the more a good version changes")
