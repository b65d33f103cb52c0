"""What the job `evaluate` hands on: candidate and champion on the same holdout rows."""

from __future__ import annotations

from dataclasses import dataclass

from jobs.metrics import in_words
from model_registry.evidence import Check
from model_registry.rules import Measured
from model_registry.store import Version


@dataclass(frozen=True)
class Evaluation:
    """Everything that was found out about a candidate, and about the champion on the same rows.

    `measured` is what the rules of the metric gate look at, `behaviour` are checks on changed rows, `seed` fixes both.
    """

    candidate: Version
    champion: Version | None
    rows: int
    holdout: str
    metrics: dict[str, float]
    champion_metrics: dict[str, float] | None
    measured: tuple[Measured, ...] = ()
    behaviour: tuple[Check, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0

    def sentence(self) -> str:
        """The result for a person."""
        against = (
            f"; the champion, version {self.champion.number}: {in_words(self.champion_metrics)}"
            if self.champion is not None and self.champion_metrics is not None
            else "; there is no champion yet"
        )
        return f"{self.candidate} on {self.rows:,} rows of {self.holdout}: {in_words(self.metrics)}{against}."
