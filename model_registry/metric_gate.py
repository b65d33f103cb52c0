"""The metric gate: a pure function from metrics and rules to a decision with its report.

A rule bounds a metric absolutely (`at_least`, `at_most`), or against production (`not_worse_by`: at most that much
worse than the champion on the same holdout rows; a negative figure demands an improvement).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from model_registry.errors import Misconfigured
from model_registry.evidence import Check, GateReport
from model_registry.store import Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HIGHER_IS_BETTER = {
    "auc": True,
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "r2": True,
    "rmse": False,
    "mae": False,
}


class Action(StrEnum):
    """What is to happen with a candidate."""

    promote = "promote"
    keep = "keep"
    first = "first"


@dataclass(frozen=True)
class MetricRule:
    """Bounds on one metric; at least one of them is set."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    not_worse_by: float | None = None


@dataclass(frozen=True)
class Decision:
    """What the metric gate decided about a candidate, against which champion, and why."""

    candidate: Version
    champion: Version | None
    action: Action
    report: GateReport

    def verdict(self) -> str:
        """The decision in one sentence."""
        if self.champion is not None and self.candidate.number == self.champion.number:
            return f"{self.candidate} is in production already; nothing changes."
        if self.action is Action.first:
            return f"{self.candidate} becomes the first champion. {self.report.verdict()}"
        if self.action is Action.promote and self.champion is not None:
            return f"{self.candidate} replaces version {self.champion.number}. {self.report.verdict()}"
        kept = f"Version {self.champion.number} stays" if self.champion else "Nothing is promoted"
        return f"{kept}; {self.candidate} is not promoted. {self.report.verdict()}"


def judge(
    candidate: Version,
    champion: Version | None,
    metrics: Mapping[str, float],
    champion_metrics: Mapping[str, float] | None,
    rules: Sequence[MetricRule],
) -> Decision:
    """Decide about a candidate from its metrics and the champion's on the same rows.

    Raises Misconfigured when there is no rule: a gate that asks nothing would be open by default.
    """
    if not rules:
        raise Misconfigured(f"{candidate.model} has no metric gate; add at least one rule under metric_gates.")
    for rule in rules:
        if rule.at_least is None and rule.at_most is None and rule.not_worse_by is None:
            raise Misconfigured(f"The rule on {rule.metric} of {candidate.model} asks nothing: give it a bound.")
    baseline = None if champion is None else champion_metrics or {}  # a champion without figures is not "no champion"
    checks = [check for rule in rules for check in _checks(rule, metrics, baseline)]
    report = GateReport("metric gate", str(candidate), tuple(checks))
    if not report.passed or (champion is not None and champion.number == candidate.number):
        action = Action.keep
    else:
        action = Action.first if champion is None else Action.promote
    return Decision(candidate, champion, action, report)


def _checks(rule: MetricRule, metrics: Mapping[str, float], champion: Mapping[str, float] | None) -> list[Check]:
    observed = metrics.get(rule.metric, math.nan)
    shown = _shown(observed)
    checks = []
    if rule.at_least is not None:
        passed = observed >= rule.at_least
        checks.append(Check(f"{rule.metric} on the holdout", passed, shown, f"at least {rule.at_least:g}"))
    if rule.at_most is not None:
        passed = observed <= rule.at_most
        checks.append(Check(f"{rule.metric} on the holdout", passed, shown, f"at most {rule.at_most:g}"))
    if rule.not_worse_by is not None:
        checks.append(_against_production(rule.metric, rule.not_worse_by, observed, champion))
    return checks


def _against_production(metric: str, margin: float, observed: float, champion: Mapping[str, float] | None) -> Check:
    name = f"{metric} against production"
    if champion is None:
        return Check(name, passed=True, observed="no champion yet", expected="nothing, for a first version")
    reference = champion.get(metric, math.nan)
    worse_by = reference - observed if HIGHER_IS_BETTER[metric] else observed - reference
    return Check(
        name,
        passed=worse_by <= margin or _only_rounding(worse_by, margin, reference),  # both false for NaN: not measured
        observed=_shown(observed),
        expected=f"no more than {margin:g} worse than the champion's {reference:.6g}",
    )


def _only_rounding(worse_by: float, margin: float, reference: float) -> bool:
    """Whether the difference is at the margin but for binary rounding: 0.8 - 0.79 is a little over 0.01."""
    return math.isclose(worse_by, margin, rel_tol=0, abs_tol=1e-12 * max(1.0, abs(reference)))


def _shown(value: float) -> float | str:
    return "not measured" if math.isnan(value) else float(f"{value:.6g}")
