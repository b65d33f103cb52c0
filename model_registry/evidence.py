"""What a gate found: checks, and the report that holds them. The registry accepts nothing else as evidence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

Scalar = bool | int | float | str | None
TOO_FEW = "not enough rows"
UNDECIDED = "undecided"


class Severity(StrEnum):
    """Whether a check that did not pass closes the gate. `off` was not asked at all, and stays visible."""

    error = "error"
    warning = "warning"
    off = "off"


@dataclass(frozen=True)
class Check:
    """One question that a gate asked, and its answer.

    `observed` is what was found, `expected` says in words what would have passed. `rows` counts the offending rows
    where the check looks at rows, `examples` names a few of the offenders as bounded text. `outcome` names an answer
    that is neither yes nor no (`not enough rows`, `undecided`), and `advice` says what to do then. `values`
    are examples that are values of rows: they are for the report's page, and never in a sentence, which may be logged.
    """

    name: str
    passed: bool
    observed: Scalar
    expected: str
    severity: Severity = Severity.error
    column: str | None = None
    rows: int | None = None
    examples: tuple[str, ...] = ()
    outcome: str = ""
    advice: str = ""
    values: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The answer in a word: passed, failed, warned or off, with the name of the outcome where it has one."""
        words = {Severity.error: "FAILED", Severity.warning: "warned"}
        word = "off" if self.severity is Severity.off else "passed" if self.passed else words[self.severity]
        return f"{word} ({self.outcome})" if self.outcome else word

    def sentence(self) -> str:
        """The check as one sentence for a person."""
        where = f" on column {self.column}" if self.column else ""
        rows = f", {self.rows} rows" if self.rows and not self.passed else ""
        examples = f", for example {', '.join(self.examples)}" if self.examples and not self.passed else ""
        advice = f" ({self.advice})" if self.advice else ""
        asked = f"expected {self.expected}, observed {self.observed}"
        return f"{self.name}{where} {self.verdict}: {asked}{rows}{examples}{advice}"

    def brief(self) -> str:
        """The answer alone, for tables."""
        return f"{self.name} {self.verdict}: {self.observed}"


@dataclass(frozen=True)
class GateReport:
    """The checks of one gate (`gate`) about one batch or version (`subject`), and `notes` on how they were made.

    A report in which nothing was asked is not passed: checks that are off do not count.
    """

    gate: str
    subject: str
    checks: tuple[Check, ...]
    notes: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """True when at least one check was answered and none of severity error failed."""
        return bool(self.answered) and not self.failures

    @property
    def asked(self) -> tuple[Check, ...]:
        """The checks that are not off."""
        return tuple(c for c in self.checks if c.severity is not Severity.off)

    @property
    def answered(self) -> tuple[Check, ...]:
        """The checks that were asked and that had enough rows for an answer."""
        return tuple(c for c in self.asked if c.outcome != TOO_FEW)

    @property
    def off(self) -> tuple[Check, ...]:
        """The checks that the spec has switched off."""
        return tuple(c for c in self.checks if c.severity is Severity.off)

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
        if not self.asked:
            why = ": all of them are off" if self.checks else ""
            return f"The {self.gate} of {self.subject} is closed: no check was evaluated{why}."
        if not self.failures and not self.passed:
            return f"The {self.gate} of {self.subject} is closed: no check had enough rows for an answer."
        if self.passed:
            warned = f", {len(self.warnings)} warned" if self.warnings else ""
            off = f", {len(self.off)} off" if self.off else ""
            count = f"{len(self.asked)} check{'s' if len(self.asked) > 1 else ''}"
            return f"The {self.gate} of {self.subject} is open: {count} evaluated{warned}{off}."
        reasons = "; ".join(c.sentence() for c in self.failures[:3])
        more = f"; and {len(self.failures) - 3} more" if len(self.failures) > 3 else ""
        return f"The {self.gate} of {self.subject} is closed: {reasons}{more}."
