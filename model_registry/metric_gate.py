"""The metric gate: a pure function from measurements and rules to a decision with its report."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from model_registry.errors import Misconfigured
from model_registry.evidence import Check, GateReport
from model_registry.questions import checks_of
from model_registry.rules import CHANGED, COSTS, Measured, MetricRule
from model_registry.store import Version

if TYPE_CHECKING:
    from collections.abc import Sequence


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
    checks = [check for rule in rules for check in checks_of(rule, measured, first=champion is None)]
    report = GateReport("metric gate", str(candidate), (*checks, *behaviour), tuple(notes))
    if champion is not None and not report.passed and improved(measured, rules):
        better = f"{candidate} is surely better than version {champion.number} by the first metric: other rules fail."
        report = replace(report, notes=(better, *report.notes))
    if not report.passed or (champion is not None and champion.number == candidate.number):
        action = Action.keep
    else:
        action = Action.first if champion is None else Action.promote
    return Decision(candidate, champion, action, report)


def improved(measured: Sequence[Measured], rules: Sequence[MetricRule]) -> bool:
    """Whether the candidate is better than the champion, with the rule's confidence, by the first metric of the rules.

    That is the first rule on a metric of the whole holdout.
    """
    first = next((rule for rule in rules if rule.metric not in {*COSTS, CHANGED} and rule.by is None), None)
    whole = next((m for m in measured if first is not None and m.subject == first.subject), None)
    return whole is not None and whole.worse_by is not None and whole.worse_by.high < 0
