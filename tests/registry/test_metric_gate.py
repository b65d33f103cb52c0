"""The metric gate: what it decides, and that it is closed unless every rule is met for sure."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry.judging import AUC, BY, NAN, Judge, Versions, only, whole

from model_registry.metric_gate import Action, judge
from model_registry.rules import COSTS, HIGHER_IS_BETTER, Estimate, Measured, MetricRule, Mode, TooFew


def test_the_first_candidate_becomes_champion(version_of: Versions) -> None:
    rule = MetricRule("auc", at_least=0.6, not_worse_by=0.01)
    decision = judge(version_of(1), None, [whole(rule, 0.71, 0.68, 0.74)], [rule])
    assert decision.action is Action.first
    assert decision.verdict() == (
        "flight_delays version 1 becomes the first champion. "
        "The metric gate of flight_delays version 1 is open: 2 checks evaluated."
    )
    assert [c.sentence() for c in decision.report.checks] == [
        (
            "auc on the holdout passed: expected at least 0.6 with 95% confidence, "
            "observed 0.71 (surely at least 0.68, 1,000 rows)"
        ),
        "auc against production passed: expected nothing, for a first version, observed no champion yet",
    ]


def test_a_better_candidate_replaces_the_champion(against: Judge) -> None:
    rule = MetricRule("auc", better_by=0.005)
    decision = against(rule, whole(rule, 0.73, worse=(-0.02, -0.03, -0.01)))
    assert decision.action is Action.promote
    assert decision.verdict().startswith("flight_delays version 2 replaces version 1. The metric gate")
    assert only(decision).sentence() == (
        "auc against production passed: expected at least 0.005 better than the champion with 95% confidence, "
        "observed 0.73 against 0.71, 0.02 better (surely at least 0.01 better, 1,000 rows)"
    )


def test_a_worse_candidate_is_kept_back(against: Judge) -> None:
    rule = MetricRule("auc", not_worse_by=0.01)
    decision = against(rule, whole(rule, 0.66, worse=(0.05, 0.03, 0.07)))
    assert decision.action is Action.keep
    assert decision.verdict() == (
        "Version 1 stays; flight_delays version 2 is not promoted. The metric gate of flight_delays version 2 is "
        "closed: auc against production FAILED: expected at most 0.01 worse than the champion with 95% confidence, "
        "observed 0.66 against 0.71, 0.05 worse (surely at most 0.07 worse, 1,000 rows)."
    )


def test_an_equal_candidate_is_called_equal(against: Judge) -> None:
    rule = MetricRule("auc", not_worse_by=0.0)
    check = only(against(rule, whole(rule, 0.71, worse=(0.0,))))
    assert check.passed
    assert check.observed == "0.71 against 0.71, equal (surely at most 0 worse, 1,000 rows)"


def test_a_first_candidate_that_fails_is_not_promoted(first: Judge) -> None:
    decision = first(AUC, whole(AUC, 0.55))
    assert decision.action is Action.keep
    assert decision.verdict().startswith("Nothing is promoted; flight_delays version 1 is not promoted.")
    assert only(decision).observed == 0.55


def test_the_champion_itself_is_kept_and_said_so(version_of: Versions) -> None:
    decision = judge(version_of(1), version_of(1), [whole(AUC, 0.71)], [AUC])
    assert decision.report.passed
    assert decision.action is Action.keep
    assert decision.headline() == "flight_delays version 1 is in production already; nothing changes."
    assert decision.verdict() == (
        "flight_delays version 1 is in production already; nothing changes. "
        "The metric gate of flight_delays version 1 is open: 1 check evaluated."
    )


@pytest.mark.parametrize("value", [None, NAN, "another"])
@pytest.mark.parametrize(
    "rule",
    [
        AUC,
        MetricRule("auc", at_most=0.9),
        MetricRule("auc", not_worse_by=0.01),
        MetricRule("auc", better_by=0.01),
        MetricRule("auc", largest_gap=0.5, by="origin"),
        replace(BY, too_few=TooFew.warn),
        replace(AUC, too_few=TooFew.accept),
        replace(AUC, too_few=TooFew.warn),
        MetricRule("changed_predictions", at_most=0.5, change=0.1),
    ],
    ids=repr,
)
def test_what_was_not_measured_does_not_pass(against: Judge, value: object, rule: MetricRule) -> None:
    pair = ("EWR", "JFK") if rule.largest_gap else None
    found = [] if value is None else [whole(rule, NAN, worse=(NAN,), pair=pair, part="EWR")]
    if value == "another":
        found = [replace(m, subject=replace(m.subject, metric="brier"), candidate=Estimate.exact(0.7)) for m in found]
    decision = against(rule, *found)
    assert decision.action is Action.keep
    assert str(only(decision).observed).endswith("not measured")
    assert only(decision).verdict == "FAILED"


def test_a_champion_that_was_not_measured_is_no_missing_champion(against: Judge) -> None:
    rule = MetricRule("auc", not_worse_by=0.01)
    decision = against(rule, whole(rule, 0.9))
    assert decision.action is Action.keep
    assert only(decision).observed == "not measured"


@pytest.mark.parametrize("ends", [(NAN, NAN), (NAN, 0.9), (0.1, NAN)])
def test_bounds_that_are_no_numbers_open_nothing(first: Judge, ends: tuple[float, float]) -> None:
    rules = [MetricRule("auc", at_least=0.6), MetricRule("auc", at_most=0.9)]
    passed = [first(rule, whole(rule, 0.7, *ends)).report.passed for rule in rules]
    assert passed == [ends[0] == ends[0] and ends[0] >= 0.6, ends[1] == ends[1]]


@pytest.mark.parametrize(
    ("rule", "value", "passed"),
    [
        (MetricRule("auc", at_least=0.6), 0.6, True),
        (MetricRule("auc", at_least=0.6), 0.6 - 1e-11, False),
        (MetricRule("rmse", at_most=12.0), 12.0, True),
        (MetricRule("rmse", at_most=12.0), 12 + 1e-10, False),
        (MetricRule("rmse", at_most=1e6), 1e6 + 1e-7, True),
        (MetricRule("rmse", at_most=1e6), 1e6 + 1e-5, False),
    ],
    ids=str,
)
def test_the_boundary_itself_passes(first: Judge, rule: MetricRule, value: float, passed: bool) -> None:
    assert first(rule, whole(rule, value)).report.passed is passed


@pytest.mark.parametrize(("champion", "margin", "observed"), [(0.8, 0.01, 0.79), (0.71, 0.005, 0.705), (0.3, 0.1, 0.2)])
def test_the_boundary_is_the_one_that_a_person_reads(
    against: Judge, champion: float, margin: float, observed: float
) -> None:
    """0.8 - 0.79 is a little over 0.01 in binary: a candidate exactly at the margin is not kept back for that."""
    rule = MetricRule("auc", not_worse_by=margin)
    assert against(rule, whole(rule, observed, worse=(champion - observed,))).report.passed
    rule = MetricRule("auc", better_by=margin)
    assert against(rule, whole(rule, champion, worse=(observed - champion,))).report.passed


BOUNDS = st.none() | st.floats(-2, 2)
RULES = st.builds(
    MetricRule,
    st.sampled_from(sorted(HIGHER_IS_BETTER)),
    BOUNDS,
    BOUNDS,
    st.none() | st.floats(0, 2),
    by=st.none() | st.just("origin"),
    too_few=st.sampled_from(TooFew),
    mode=st.sampled_from(Mode),
).filter(lambda rule: any(bound is not None for bound in rule.bounds))
NUMBERS = st.floats(-3, 3) | st.just(NAN) | st.just(math.inf)
ESTIMATES = st.builds(Estimate, NUMBERS, NUMBERS, NUMBERS)


@st.composite
def situations(draw: st.DrawFn) -> tuple[list[MetricRule], list[Measured]]:
    rules = draw(st.lists(RULES, min_size=1, max_size=4))
    found = []
    for rule in {rule.subject: rule for rule in rules}.values():
        parts = draw(st.lists(st.sampled_from("abc"), unique=True)) if rule.by else draw(st.sampled_from([[], [None]]))
        found += [
            Measured(
                rule.subject,
                draw(st.integers(0, 300)),
                draw(ESTIMATES),
                draw(st.none() | ESTIMATES),
                draw(st.none() | ESTIMATES),
                part,
            )
            for part in parts
        ]
    return rules, found


@given(situation=situations(), champion=st.sampled_from([None, 1, 2]))
def test_the_action_follows_from_the_report_and_nothing_unmeasured_passes(
    version_of: Versions, situation: tuple[list[MetricRule], list[Measured]], champion: int | None
) -> None:
    rules, found = situation
    decision = judge(version_of(2), None if champion is None else version_of(champion), found, rules)
    bounds = [bound for rule in rules for bound in rule.bounds if bound is not None]
    report = decision.report
    assert len(report.checks) >= len(bounds)
    assert (decision.action is Action.keep) == (not report.passed or champion == 2)
    assert (decision.action is Action.first) == (report.passed and champion is None)
    assert decision.verdict().endswith(".")
    assert all(check.passed is False for check in report.asked if str(check.observed).endswith("not measured"))
    assert report.passed <= bool(report.answered)
    assert len(report.off) == sum(b is not None for r in rules if r.mode is Mode.off for b in r.bounds)


@given(
    metric=st.sampled_from(sorted(set(HIGHER_IS_BETTER) - set(COSTS))),
    margin=st.floats(0, 1),
    bound=st.floats(-2, 2),
    value=st.floats(-2, 2),
    spread=st.floats(0, 1),
    gain=st.floats(0, 2),
)
def test_a_better_metric_never_closes_an_open_gate(
    version_of: Versions, metric: str, margin: float, bound: float, value: float, spread: float, gain: float
) -> None:
    higher = HIGHER_IS_BETTER[metric]
    limit: dict[str, Any] = {"at_least": bound} if higher else {"at_most": bound}
    rules = [MetricRule(metric, not_worse_by=margin, **limit)]

    def checks(value: float) -> list[bool]:
        worse = -value if higher else value
        found = whole(rules[0], value, value - spread, value + spread, worse=(worse, worse - spread, worse + spread))
        return [c.passed for c in judge(version_of(2), version_of(1), [found], rules).report.checks]

    better = value + gain if higher else value - gain
    assert all(after or not before for before, after in zip(checks(value), checks(better), strict=True))
