"""The parts of a spec that say what a candidate must show, and what becomes of it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from model_registry.requests import Approval
from model_registry.rules import CHANGED, COSTS, MetricRule, Mode, TooFew
from model_registry.store import Stage

MINIMUM_ROWS = 100


class Part(BaseModel):
    """A part of a spec: nothing beyond its fields, and nothing changes once it is read."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


class MetricGate(Part):
    """Bounds on one metric of the candidate. Each must hold with confidence, not by chance."""

    metric: Literal[
        "auc",
        "average_precision",
        "log_loss",
        "brier",
        "calibration_error",
        "rmse",
        "mae",
        "r2",
        "changed_predictions",
        "latency_ratio",
        "load_ratio",
        "artifact_mb",
    ]
    """A metric of the task on the holdout (`calibration_error`: the root mean square distance of mean target and mean
    score over ten bins, less what chance adds); `changed_predictions` (the share of rows scored differently from the
    champion); or a cost: `latency_ratio` and `load_ratio` (time to score 1000 rows, and to load, over a fixed reference
    measured in the same run), `artifact_mb` (size of the version's files)."""
    at_least: float | None = None
    """Smallest value allowed."""
    at_most: float | None = None
    """Largest value allowed."""
    not_worse_by: float | None = Field(default=None, ge=0)
    """How much worse than the champion on the same rows is allowed."""
    better_by: float | None = Field(default=None, ge=0)
    """How much better than the champion on the same rows it must be."""
    by: str | None = None
    """A column of the source, or its partition column: the bounds then hold for every value of it (of numbers with many
    values: for every quarter)."""
    largest_gap: float | None = Field(default=None, ge=0)
    """With `by`: largest difference allowed between the best and the worst slice."""
    by_more_than: float | None = Field(default=None, ge=0)
    """With `changed_predictions`: the change of a score that counts."""
    confidence: float = Field(default=0.95, ge=0.5, le=0.999)
    """How sure a bound must be, by a bootstrap over the rows; 0.5 judges the point value."""
    minimum_rows: int = Field(default=MINIMUM_ROWS, ge=2)
    """With fewer rows in the holdout (or a slice) nothing is judged; `too_few` says what then."""
    too_few: TooFew | None = None
    """`fail`, `warn` or `pass` when there are not enough rows: by default `fail`, and `pass` for slices."""
    mode: Mode = Mode.enforce
    """`enforce` closes the gate, `warn` is told, `off` is not asked; all three are in every report."""

    @model_validator(mode="after")
    def _asks_something(self) -> MetricGate:
        faults = list(self._faults())
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def _faults(self) -> list[str]:
        against = self.not_worse_by is not None or self.better_by is not None
        found = {
            "needs at_least, at_most, not_worse_by, better_by or largest_gap": all(
                bound is None for bound in self.rule().bounds
            ),
            "takes not_worse_by or better_by, not both": None not in {self.not_worse_by, self.better_by},
            "with largest_gap needs by": self.largest_gap is not None and self.by is None,
            "on a cost takes at_least or at_most only": self.metric in COSTS and (against or self.by is not None),
            "on changed_predictions needs by_more_than, and no comparison beyond it": self.metric == CHANGED
            and (self.by_more_than is None or against),
            "takes by_more_than on changed_predictions only": self.metric != CHANGED and self.by_more_than is not None,
        }
        return [f"a metric gate {fault}" for fault, is_so in found.items() if is_so]

    def rule(self) -> MetricRule:
        """The rule that the registry's metric gate understands."""
        return MetricRule(
            self.metric,
            self.at_least,
            self.at_most,
            self.not_worse_by,
            self.better_by,
            self.by,
            self.largest_gap,
            self.minimum_rows,
            self.too_few or (TooFew.fail if self.by is None else TooFew.accept),
            self.confidence,
            self.mode,
            self.by_more_than,
        )


class PromotionPolicy(Part):
    """What becomes of a candidate that passed its metric gate."""

    to: Literal[Stage.production, Stage.staging] = Stage.production
    """`production` at once, or `staging`, where it waits for `lamplighter promote` or the DAG `promote_<model>`."""
    approval: Approval = Approval.none
    """`required`: a person must agree before a version gets to production; `two_persons`: another than who asked."""
