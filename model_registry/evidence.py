"""What a gate found: checks, and the report that holds them. The registry accepts nothing else as evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Scalar = bool | int | float | str | None


class Severity(StrEnum):
    """Whether a check that did not pass closes the gate."""

    error = "error"
    warning = "warning"


@dataclass(frozen=True)
class Check:
    """One question that a gate asked, and its answer.

    `observed` is what was found, `expected` says in words what would have passed. `rows` counts the offending rows
    where the check looks at rows, and `examples` holds a few of the offending values as bounded text.
    """

    name: str
    passed: bool
    observed: Scalar
    expected: str
    severity: Severity = Severity.error
    column: str | None = None
    rows: int | None = None
    examples: tuple[str, ...] = ()

    def sentence(self) -> str:
        """The check as one sentence for a person."""
        verdict = "passed" if self.passed else ("FAILED" if self.severity is Severity.error else "warned")
        where = f" on column {self.column}" if self.column else ""
        rows = f", {self.rows} rows" if self.rows and not self.passed else ""
        examples = f", for example {', '.join(self.examples)}" if self.examples and not self.passed else ""
        return f"{self.name}{where} {verdict}: expected {self.expected}, observed {self.observed}{rows}{examples}"


@dataclass(frozen=True)
class GateReport:
    """The checks of one gate (`gate`) about one batch or version (`subject`). A report without checks is not passed."""

    gate: str
    subject: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """True when there is at least one check and none of severity error failed."""
        return bool(self.checks) and not self.failures

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that closed the gate."""
        return tuple(c for c in self.checks if not c.passed and c.severity is Severity.error)

    @property
    def warnings(self) -> tuple[Check, ...]:
        """The checks that did not pass and did not close the gate."""
        return tuple(c for c in self.checks if not c.passed and c.severity is Severity.warning)

    def verdict(self) -> str:
        """The report in one sentence."""
        if not self.checks:
            return f"The {self.gate} of {self.subject} is closed: no check was evaluated."
        if self.passed:
            warned = f", {len(self.warnings)} warned" if self.warnings else ""
            count = f"{len(self.checks)} check{'s' if len(self.checks) > 1 else ''}"
            return f"The {self.gate} of {self.subject} is open: {count} evaluated{warned}."
        reasons = "; ".join(c.sentence() for c in self.failures[:3])
        more = f"; and {len(self.failures) - 3} more" if len(self.failures) > 3 else ""
        return f"The {self.gate} of {self.subject} is closed: {reasons}{more}."
