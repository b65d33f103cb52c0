"""The metric gate: a pure function from measurements and rules to a decision with its report.

A bound is met when it holds with the rule's confidence, judged on a paired bootstrap over the same holdout rows (Efron
and Tibshirani 1993; non-inferiority as in Schuirmann 1987): `passed`. A point value beyond the bound has `FAILED`. What
lies between is `undecided`: the rows cannot tell, and the report says how many could.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from model_registry.errors import Misconfigured
from model_registry.evidence import TOO_FEW, UNDECIDED, Check, GateReport, Severity
from model_registry.rules import CHANGED, COSTS, Estimate, Measured, MetricRule, Mode, TooFew
from model_registry.store import Version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MANY_ROWS = 1e12


class Action(StrEnum):
    """What is to happen with a candidate."""

    promote = "promote"
    keep = "keep"
    first = "first"


@dataclass(frozen=True)
class Decision:
    """What the metric gate decided about a candidate, against which champion, and why."""

    candidate: Version
    champion: Version | None
    action: Action
    report: GateReport

    def verdict(self) -> str:
        """The decision in one sentence."""
        return f"{self.headline()} {self.report.verdict()}".removesuffix(" ")

    def headline(self) -> str:
        """What is to happen, without the reasons."""
        if self.champion is not None and self.candidate.number == self.champion.number:
            return f"{self.candidate} is in production already; nothing changes."
        if self.action is Action.first:
            return f"{self.candidate} becomes the first champion."
        if self.action is Action.promote and self.champion is not None:
            return f"{self.candidate} replaces version {self.champion.number}."
        kept = f"Version {self.champion.number} stays" if self.champion else "Nothing is promoted"
        return f"{kept}; {self.candidate} is not promoted."


def judge(
    candidate: Version,
    champion: Version | None,
    measured: Sequence[Measured],
    rules: Sequence[MetricRule],
    behaviour: Sequence[Check] = (),
    notes: Sequence[str] = (),
) -> Decision:
    """Decide about a candidate from what was measured of it and of the champion on the same rows.

    `behaviour` are checks that were made elsewhere and count alike. Raises Misconfigured when there is no rule: a gate
    that asks nothing would be open by default.
    """
    if not rules:
        raise Misconfigured(f"{candidate.model} has no metric gate; add at least one rule under metric_gates.")
    for rule in rules:
        if all(bound is None for bound in rule.bounds):
            raise Misconfigured(f"The rule on {rule.metric} of {candidate.model} asks nothing: give it a bound.")
    checks = [check for rule in rules for check in _checks(rule, measured, champion)]
    report = GateReport("metric gate", str(candidate), (*checks, *behaviour), tuple(notes))
    if not report.passed or (champion is not None and champion.number == candidate.number):
        action = Action.keep
    else:
        action = Action.first if champion is None else Action.promote
    return Decision(candidate, champion, action, report)


def improved(measured: Sequence[Measured], rules: Sequence[MetricRule]) -> bool:
    """Whether the candidate is better than the champion, with the rule's confidence, by the rules' first metric."""
    first = next((rule for rule in rules if rule.metric not in {*COSTS, CHANGED}), None)
    whole = [m for m in measured if first is not None and (m.metric, m.by) == (first.metric, None)]
    return bool(whole) and whole[0].worse_by is not None and whole[0].worse_by.high < 0


@dataclass(frozen=True)
class _Question:
    """One bound, the words for it, and what to look at: it must be at most `bound`, or at least that."""

    bound: float
    name: str
    expected: str
    look: Callable[[Measured], Estimate | None]
    at_least: bool = False
    margin: bool = False
    gap: bool = False

    def met_by(self, value: float) -> bool:
        """Whether a value meets the bound; one that is at it but for binary rounding does, not-a-number does not."""
        close = math.isclose(value, self.bound, rel_tol=0, abs_tol=1e-12 * max(1.0, abs(self.bound)))
        return close or (value >= self.bound if self.at_least else value <= self.bound)

    def certain(self, estimate: Estimate) -> float:
        """The bound of the estimate that is certain."""
        return estimate.low if self.at_least else estimate.high


def _checks(rule: MetricRule, measured: Sequence[Measured], champion: Version | None) -> list[Check]:
    mine = [m for m in dict.fromkeys(measured) if _measures(m, rule)]
    whole = [m for m in mine if m.pair is None]
    checks = []
    for question in _questions(rule):
        if rule.mode is Mode.off:
            checks.append(_passed(question.name, "not asked", question.expected, Severity.off))
        elif champion is None and (question.margin or rule.metric == CHANGED):
            expected = "nothing, for a first version"
            checks.append(_passed(question.name, "no champion yet", expected, rule.mode.severity))
        else:
            checks.append(_answer(rule, question, [m for m in mine if m.pair] if question.gap else whole))
    return checks


def _passed(name: str, observed: str, expected: str, severity: Severity) -> Check:
    return Check(name, passed=True, observed=observed, expected=expected, severity=severity)


def _measures(measured: Measured, rule: MetricRule) -> bool:
    if rule.metric in COSTS:
        return measured.metric == rule.metric
    asked = (rule.metric, rule.confidence, rule.by, rule.change)
    return (measured.metric, measured.confidence, measured.by, measured.change) == asked


def _questions(rule: MetricRule) -> Iterable[_Question]:
    what = (
        rule.metric.replace("_", " ")
        if rule.change is None
        else f"predictions that change by more than {rule.change:g}"
    )
    where = f"of every {rule.by}" if rule.by else "on the holdout"
    sure = "" if rule.metric in COSTS else f" with {100 * rule.confidence:g}% confidence"
    if rule.at_least is not None:
        name, expected = f"{what} {where}", f"at least {rule.at_least:g}{sure}"
        yield _Question(rule.at_least, name, expected, _own, at_least=True)
    if rule.at_most is not None:
        yield _Question(rule.at_most, f"{what} {where}", f"at most {rule.at_most:g}{sure}", _own)
    against = f"{what} {where} against production" if rule.by else f"{what} against production"
    if rule.not_worse_by is not None:
        expected = f"at most {rule.not_worse_by:g} worse than the champion{sure}"
        yield _Question(rule.not_worse_by, against, expected, _worse_by, margin=True)
    if rule.better_by is not None:
        expected = f"at least {rule.better_by:g} better than the champion{sure}"
        yield _Question(-rule.better_by, against, expected, _worse_by, margin=True)
    if rule.largest_gap is not None:
        expected = f"at most {rule.largest_gap:g} between the best and the worst {rule.by}{sure}"
        yield _Question(rule.largest_gap, f"{what} by {rule.by}, largest gap", expected, _own, gap=True)


def _own(measured: Measured) -> Estimate | None:
    return measured.candidate


def _worse_by(measured: Measured) -> Estimate | None:
    return measured.worse_by


def _answer(rule: MetricRule, question: _Question, measured: Sequence[Measured]) -> Check:
    enough = [m for m in measured if m.rows >= rule.minimum_rows or rule.metric in COSTS]
    small = [m for m in measured if m not in enough]
    if not enough:
        return _too_few(rule, question, small)
    judged = [(m, _judged(question, m)) for m in enough]
    bad = [(m, outcome) for m, outcome in judged if outcome is not None]
    worst = min(bad or judged, key=lambda pair: _distance(question, pair[0]))
    check = Check(
        name=question.name,
        passed=not bad,
        observed=_shown(question, worst[0], several=rule.by is not None),
        expected=question.expected if len(enough) < 2 else f"{question.expected}, in each of {len(enough)}",
        severity=rule.mode.severity,
        examples=tuple(f"{m.part}" for m, _ in bad[:8]) if rule.by and not question.gap else (),
        advice=_left_out(rule, small),
    )
    if bad and all(outcome == UNDECIDED for _, outcome in bad):
        return replace(check, outcome=UNDECIDED, advice=_advice(question, worst[0]) + check.advice)
    return check


def _judged(question: _Question, measured: Measured) -> str | None:
    """None when the bound is met, `undecided` when only the point value meets it, otherwise what is wrong."""
    estimate = question.look(measured)
    if estimate is None or math.isnan(estimate.value):
        return "not measured"
    if not question.met_by(estimate.value):
        return "failed"
    return None if question.met_by(question.certain(estimate)) else UNDECIDED


def _distance(question: _Question, measured: Measured) -> float:
    """How far on the good side of the bound the certain end is; not measured is as bad as can be."""
    estimate = question.look(measured)
    if estimate is None or math.isnan(estimate.value):
        return -math.inf
    end = question.certain(estimate)
    return end - question.bound if question.at_least else question.bound - end


def _shown(question: _Question, measured: Measured, *, several: bool) -> float | str:
    estimate = question.look(measured)
    if estimate is None or math.isnan(estimate.value):
        return "not measured"
    where = f"{' and '.join(measured.pair)} " if measured.pair else f"{measured.part} " if several else ""
    if estimate.low == estimate.high and not where and not question.margin:
        return float(f"{estimate.value:.6g}")
    word, end = ("low", estimate.low) if question.at_least else ("high", estimate.high)
    sure = f"surely {'at least' if word == 'low' else 'at most'} {end:.4g}, {measured.rows:,} rows"
    if question.margin and measured.champion is not None:
        side = "worse" if estimate.value > 0 else "better"
        values = f"{measured.candidate.value:.4g} against {measured.champion.value:.4g}"
        sure = f"surely {_worse(end)}, {measured.rows:,} rows"
        return f"{where}{values}: {abs(estimate.value):.4g} {side} ({sure})"
    return f"{where}{estimate.value:.4g} ({sure})"


def _worse(end: float) -> str:
    return f"at most {end:.4g} worse" if end > 0 else f"at least {-end:.4g} better"


def _too_few(rule: MetricRule, question: _Question, small: Sequence[Measured]) -> Check:
    rows = max((m.rows for m in small), default=0)
    severity = Severity.warning if small and rule.too_few is TooFew.warn else rule.mode.severity
    largest = f"{rows:,} rows in the largest" if rule.by else f"{rows:,} rows"
    remedy = "lengthen training.holdout, lower minimum_rows, or promote with --override"
    return Check(
        question.name,
        bool(small) and rule.too_few is TooFew.accept,
        largest if small else "not measured",
        f"{question.expected}, over at least {rule.minimum_rows:,} rows",
        severity,
        outcome=TOO_FEW if small else "",
        advice=remedy if small and rule.too_few is not TooFew.accept else "",
    )


def _left_out(rule: MetricRule, small: Sequence[Measured]) -> str:
    if not small:
        return ""
    rows = sum(m.rows for m in small)
    return f"not judged: {len(small)} with fewer than {rule.minimum_rows:,} rows each, {rows:,} in all"


def _advice(question: _Question, measured: Measured) -> str:
    """What to do about a bound that the rows cannot decide: how many would, or an override."""
    estimate = question.look(measured)
    if estimate is None:
        return ""
    spread = abs(question.certain(estimate) - estimate.value)
    slack = abs(estimate.value - question.bound)
    ratio = spread / slack if slack > 0 else math.inf
    needed = measured.rows * ratio * ratio
    many = f"about {_rounded(needed)} rows would tell" if needed < MANY_ROWS else "no number of rows would tell"
    never = ""
    if question.margin and question.bound >= 0 and spread > question.bound:
        never = f"; the noise, {spread:.3g}, is wider than the margin: not even an equally good version can pass here"
    return f"{measured.rows:,} rows cannot tell, {many}{never}: lengthen training.holdout, or promote with --override"


def _rounded(rows: float) -> str:
    """A number of rows with two significant figures, as more would be pretence."""
    digits = max(0, math.floor(math.log10(rows)) - 1)
    return f"{math.ceil(rows / 10**digits) * 10**digits:,}"
