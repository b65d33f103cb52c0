"""What a metric gate is asked (rules), and what it is told (measurements with their uncertainty)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from model_registry.evidence import Severity

HIGHER_IS_BETTER = {
    "auc": True,
    "average_precision": True,
    "log_loss": False,
    "brier": False,
    "calibration_error": False,
    "r2": True,
    "rmse": False,
    "mae": False,
    "changed_predictions": False,
    "latency_ratio": False,
    "load_ratio": False,
    "artifact_mb": False,
}
COSTS = ("latency_ratio", "load_ratio", "artifact_mb")
CHANGED = "changed_predictions"
RANKED = ("auc", "average_precision")  # without both classes there is nothing to rank
RARER = 10  # fewest rows of a class from which a ranking is judged


class Mode(StrEnum):
    """Whether a rule closes the gate (`enforce`), only warns, or is not asked at all (and still shown)."""

    enforce = "enforce"
    warn = "warn"
    off = "off"

    @property
    def severity(self) -> Severity:
        """The severity of the checks of a rule in this mode."""
        return {Mode.enforce: Severity.error, Mode.warn: Severity.warning, Mode.off: Severity.off}[self]


class TooFew(StrEnum):
    """What a rule says when there are not enough rows to say anything."""

    fail = "fail"
    warn = "warn"
    accept = "pass"


@dataclass(frozen=True)
class Subject:
    """What a rule looks at: rules with the same subject share its measurements.

    `minimum_rows` is the size from which a slice is measured, None where nothing is sliced.
    """

    metric: str
    confidence: float
    by: str | None = None
    change: float | None = None
    minimum_rows: int | None = None


@dataclass(frozen=True)
class MetricRule:
    """Bounds on one metric; at least one of them is set.

    `at_least` and `at_most` bound the candidate's own value. `not_worse_by` is how much worse than the champion on the
    same rows it may be, `better_by` how much better it must be. With `by` (a column) they hold for every slice of at
    least `minimum_rows` rows, and `largest_gap` bounds the difference between the best and the worst of them. Each is
    met when it holds with `confidence`, not when the point value happens to meet it.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    not_worse_by: float | None = None
    better_by: float | None = None
    by: str | None = None
    largest_gap: float | None = None
    minimum_rows: int = 100
    too_few: TooFew = TooFew.fail
    confidence: float = 0.95
    mode: Mode = Mode.enforce
    change: float | None = None

    @property
    def bounds(self) -> tuple[float | None, ...]:
        """All bounds, set or not."""
        return (self.at_least, self.at_most, self.not_worse_by, self.better_by, self.largest_gap)

    @property
    def subject(self) -> Subject:
        """What the rule looks at."""
        smallest = self.minimum_rows if self.by else None
        return Subject(self.metric, self.confidence, self.by, self.change, smallest)


@dataclass(frozen=True)
class Estimate:
    """A value with its one-sided bounds: with the confidence of the rule it is `low` or more, and `high` or less."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Estimate:
        """A value that has no sampling error."""
        return cls(value, value, value)


@dataclass(frozen=True)
class Measured:
    """A subject over some rows of the holdout: all of them, or the slice in which its column is `part`.

    `worse_by` is how much worse than the champion on the same rows the candidate is (negative: better). `pair` names
    the slices with the lowest and the highest value where `candidate` is the gap between them. `rarer` counts the rows
    of the rarer class where the metric needs both. `small` is the number of slices below the minimum that are put
    together here, unmeasured.
    """

    subject: Subject
    rows: int
    candidate: Estimate
    champion: Estimate | None = None
    worse_by: Estimate | None = None
    part: str | None = None
    pair: tuple[str, str] | None = None
    rarer: int | None = None
    small: int = 0

    def enough(self, minimum_rows: int) -> bool:
        """Whether so many rows, with both classes among them, are enough to conclude anything."""
        return not self.small and self.rows >= minimum_rows and (self.rarer is None or self.rarer >= RARER)
