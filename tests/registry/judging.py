"""Measurements and decisions as the tests of the metric gate write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from model_registry.evidence import Check
from model_registry.metric_gate import Decision
from model_registry.rules import Estimate, Measured, MetricRule, TooFew
from model_registry.store import Version

Versions = Callable[..., Version]
Judge = Callable[..., Decision]
AUC = MetricRule("auc", at_least=0.6)
BY = MetricRule("auc", at_least=0.6, by="origin", too_few=TooFew.accept)
NAN = math.nan


def whole(rule: MetricRule, *ends: float, worse: tuple[float, ...] | None = None, **fields: Any) -> Measured:
    """What was measured on the whole holdout: value (low, high) of the candidate, and how much worse it is."""
    worse_by = None if worse is None else estimate(*worse)
    champion = fields.pop("champion", Estimate.exact(0.71) if worse is not None else None)
    given = {"rows": 1000, "candidate": estimate(*ends), "champion": champion, "worse_by": worse_by}
    return Measured(rule.subject, **(given | fields))


def estimate(value: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value, value if low is None else low, value if high is None else high)


def only(decision: Decision) -> Check:
    (check,) = decision.report.checks
    return check


def slices(rule: MetricRule, **ends: tuple[float, ...]) -> list[Measured]:
    return [whole(rule, *given, part=part, rows=200) for part, given in ends.items()]


def small(rule: MetricRule, count: int, rows: int) -> Measured:
    return Measured(rule.subject, rows, Estimate.exact(NAN), part="smaller ones", small=count)
