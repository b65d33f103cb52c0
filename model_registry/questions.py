"""From a rule and what was measured to checks: each bound is a question, and each answer says how sure it is.

A bound is met when it holds with the rule's confidence, judged on a paired bootstrap over the same holdout rows (Efron
and Tibshirani 1993; non-inferiority as in Schuirmann 1987): `passed`. A point value beyond the bound has `FAILED`. What
lies between is `undecided`: the rows cannot tell, and the report says how many could.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from model_registry.evidence import TOO_FEW, UNDECIDED, Check, Severity
from model_registry.rules import CHANGED, COSTS, RARER, Estimate, Measured, MetricRule, Mode, TooFew

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

MANY_ROWS = 1e9
CHANGES = "the longer nothing was promoted, the more a good version changes: if that is wanted, promote with --override"
LONGER = "lengthen training.holdout, and training.window by as much"
REMEDY = f"{LONGER}, or promote with --override"


@dataclass(frozen=True)
class Question:
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
        """The end of the estimate that must meet the bound."""
        return estimate.low if self.at_least else estimate.high

    def hopeful(self, estimate: Estimate) -> float:
        """The other end: the best that the value may be in truth."""
        return estimate.high if self.at_least else estimate.low

    def known(self, measured: Measured) -> Estimate | None:
        """What to look at, or None where it was not measured."""
        estimate = self.look(measured)
        return None if estimate is None or math.isnan(estimate.value) else estimate

    def reserve(self, measured: Measured) -> float:
        """How far on the good side of the bound the certain end is; what was not measured is as bad as can be."""
        estimate = self.known(measured)
        if estimate is None:
            return -math.inf
        end = self.certain(estimate)
        return end - self.bound if self.at_least else self.bound - end


def checks_of(rule: MetricRule, measured: Sequence[Measured], *, first: bool) -> list[Check]:
    """The checks of a rule. `first`: there is no champion, and what compares with one asks nothing."""
    mine = [m for m in measured if m.subject == rule.subject]
    checks = []
    for question in _questions(rule):
        if rule.mode is Mode.off:
            checks.append(Check(question.name, passed=True, observed="not asked", expected=question.expected))
        elif first and (question.margin or rule.metric == CHANGED):
            nothing = "nothing, for a first version"
            checks.append(Check(question.name, passed=True, observed="no champion yet", expected=nothing))
        else:
            checks.append(_answer(rule, question, [m for m in mine if (m.pair is not None) is question.gap]))
    if rule.mode is not Mode.off:
        checks += _small_slices(rule, mine)
    return [replace(check, severity=_severity(rule, check)) for check in checks]


def _severity(rule: MetricRule, check: Check) -> Severity:
    if check.outcome == TOO_FEW and rule.too_few is TooFew.warn and rule.mode is Mode.enforce:
        return Severity.warning
    return rule.mode.severity


def subject_in_words(rule: MetricRule) -> str:
    """The metric of a rule for a person."""
    if rule.change is not None:
        return f"predictions that change by more than {rule.change:g}"
    return rule.metric.replace("_", " ")


def _questions(rule: MetricRule) -> Iterator[Question]:
    what = subject_in_words(rule)
    where = f"of every {rule.by}" if rule.by else "on the holdout"
    sure = "" if rule.metric in COSTS else f" with {rule.confidence * 100:.4g}% confidence"
    if rule.at_least is not None:
        name, expected = f"{what} {where}", f"at least {rule.at_least:g}{sure}"
        yield Question(rule.at_least, name, expected, _own, at_least=True)
    if rule.at_most is not None:
        yield Question(rule.at_most, f"{what} {where}", f"at most {rule.at_most:g}{sure}", _own)
    against = f"{what} {where} against production" if rule.by else f"{what} against production"
    if rule.not_worse_by is not None:
        expected = f"at most {rule.not_worse_by:g} worse than the champion{sure}"
        yield Question(rule.not_worse_by, against, expected, _worse_by, margin=True)
    if rule.better_by is not None:
        expected = f"at least {rule.better_by:g} better than the champion{sure}"
        yield Question(-rule.better_by, against, expected, _worse_by, margin=True)
    if rule.largest_gap is not None:
        expected = f"at most {rule.largest_gap:g} between the best and the worst {rule.by}{sure}"
        yield Question(rule.largest_gap, f"{what} by {rule.by}, largest gap", expected, _own, gap=True)


def _own(measured: Measured) -> Estimate | None:
    return measured.candidate


def _worse_by(measured: Measured) -> Estimate | None:
    return measured.worse_by


def _answer(rule: MetricRule, question: Question, measured: Sequence[Measured]) -> Check:
    if not measured:
        return Check(question.name, passed=False, observed="not measured", expected=question.expected)
    enough = [m for m in measured if rule.metric in COSTS or m.enough(rule.minimum_rows)]
    if not enough:
        return _too_few(rule, question, measured)
    bad = [m for m in enough if not _met(question, m)]
    worst = min(bad or enough, key=question.reserve)
    sliced = rule.by is not None and not question.gap
    check = Check(
        name=question.name,
        passed=not bad,
        observed=_shown(question, worst, several=sliced),
        expected=f"{question.expected}, in each of {len(enough)}" if sliced else question.expected,
        examples=tuple(str(m.part) for m in bad[:8]) if sliced else (),
    )
    if not bad:
        return check
    undecided = all(_point_met(question, m) for m in bad)
    advice = CHANGES if rule.metric == CHANGED and not undecided else _advice(question, worst)
    return replace(check, outcome=UNDECIDED if undecided else "", advice=advice)


def _met(question: Question, measured: Measured) -> bool:
    estimate = question.known(measured)
    return estimate is not None and _point_met(question, measured) and question.met_by(question.certain(estimate))


def _point_met(question: Question, measured: Measured) -> bool:
    estimate = question.known(measured)
    return estimate is not None and question.met_by(estimate.value)


def _shown(question: Question, measured: Measured, *, several: bool) -> float | str:
    estimate = question.known(measured)
    where = f"{measured.part}: " if several else ""
    if estimate is None:
        return f"{where}not measured"
    exact = estimate.low == estimate.high and not question.margin
    if exact and not where and measured.pair is None:
        return float(f"{estimate.value:.6g}")
    if question.margin and measured.champion is not None:
        values = f"{measured.candidate.value:.4g} against {measured.champion.value:.4g}"
        sure = f"surely {_worse(estimate.high)}, {measured.rows:,} rows"
        return f"{where}{values}, {_compared(estimate.value)} ({sure})"
    between = f" between {' and '.join(measured.pair)}" if measured.pair else ""
    sure = f"surely {'at least' if question.at_least else 'at most'} {question.certain(estimate):.4g}"
    rows = f"{measured.rows:,} rows" + (" in the smaller" if measured.pair else "")
    if measured.champion is not None and measured.pair is None and not math.isnan(measured.champion.value):
        rows += f"; the champion {measured.champion.value:.4g}"
    return f"{where}{estimate.value:.4g}{between} ({sure}, {rows})"


def _compared(worse_by: float) -> str:
    return "equal" if worse_by == 0 else f"{abs(worse_by):.4g} {'worse' if worse_by > 0 else 'better'}"


def _worse(end: float) -> str:
    return f"at most {end:.4g} worse" if end >= 0 else f"at least {-end:.4g} better"


def _too_few(rule: MetricRule, question: Question, few: Sequence[Measured]) -> Check:
    size = f"at least {_size(rule, few)}"
    slices = "" if rule.by is None else "two slices of " if question.gap else "a slice of "
    accept = rule.too_few is TooFew.accept
    return Check(
        question.name,
        passed=accept,
        observed=_rows(few[0]) if rule.by is None else "fewer" if question.gap else "none",
        expected=f"{question.expected}, over {slices}{size}",
        outcome=TOO_FEW,
        advice="" if accept else f"{LONGER}, lower minimum_rows, or promote with --override",
    )


def _small_slices(rule: MetricRule, measured: Sequence[Measured]) -> list[Check]:
    """One check about all slices that are too small to judge, so that nobody takes them for judged."""
    few = [m for m in measured if m.pair is None and not m.enough(rule.minimum_rows)]
    if rule.by is None or not few:
        return []
    slices, rows = sum(max(m.small, 1) for m in few), sum(m.rows for m in few)
    accept = rule.too_few is TooFew.accept
    check = Check(
        f"{subject_in_words(rule)} of every {rule.by}, small slices",
        passed=accept,
        observed=f"{slices:,} not judged, {rows:,} rows in all",
        expected=f"at least {_size(rule, few)} in each",
        examples=tuple(f"{m.part} ({_rows(m)})" for m in few if not m.small)[:8],
        outcome=TOO_FEW,
        advice="" if accept else f"{LONGER}, lower minimum_rows, or promote with --override",
    )
    return [check]


def _size(rule: MetricRule, few: Sequence[Measured]) -> str:
    classes = f" and {RARER} of each class" if any(m.rarer is not None for m in few) else ""
    return f"{rule.minimum_rows:,} rows{classes}"


def _rows(measured: Measured) -> str:
    rarer = "" if measured.rarer is None else f", {measured.rarer:,} of the rarer class"
    return f"{measured.rows:,} rows{rarer}"


def _advice(question: Question, measured: Measured) -> str:
    """What to do about a bound that these rows do not show to hold: how many would, or an override."""
    estimate = question.known(measured)
    if estimate is None:
        return ""
    if question.met_by(estimate.value):
        says = f"{measured.rows:,} rows cannot tell, {_needed(question, measured, estimate)}"
        return f"{says}{_never(question, estimate)}: {REMEDY}"
    found = []
    if question.met_by(question.hopeful(estimate)):
        found.append(f"with {measured.rows:,} rows this may be chance{_never(question, estimate)}: {LONGER}")
    if not (question.margin or question.gap) and _missed_by_champion(question, measured):
        found.append("the champion misses this bound too: keeping it is no safer")
    return "; ".join(found)


def _missed_by_champion(question: Question, measured: Measured) -> bool:
    champion = measured.champion
    return champion is not None and not math.isnan(champion.value) and not question.met_by(champion.value)


def _needed(question: Question, measured: Measured, estimate: Estimate) -> str:
    """How many rows would do: the spread shrinks with their square root."""
    spread, slack = abs(question.certain(estimate) - estimate.value), abs(estimate.value - question.bound)
    ratio = spread / slack if slack > 0 else math.inf
    needed = measured.rows * ratio * ratio
    return f"about {_rounded(needed)} would" if needed < MANY_ROWS else "and no number of rows would"


def _never(question: Question, estimate: Estimate) -> str:
    """A word about a bound that noise alone keeps nearly everything from meeting."""
    spread = abs(question.certain(estimate) - estimate.value)
    if question.margin and question.bound <= 0:
        return f"; with so many rows only a version at least {spread - question.bound:.2g} better can pass"
    if not (question.margin or question.gap) or spread <= question.bound:
        return ""
    equal = "slices that are all alike" if question.gap else "even a version as good as the champion"
    wider = f"the noise, {spread:.2g}, is wider than the {question.bound:g} allowed"
    return f"; {wider}: {equal} would be held back more often than not"


def _rounded(rows: float) -> str:
    """A number of rows with two significant figures, as more would be pretence."""
    digits = max(0, math.floor(math.log10(rows)) - 1)
    return f"{int(math.ceil(rows / 10**digits) * 10**digits):,}"
