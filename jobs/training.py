"""What the jobs `train` and `evaluate` hand on, and the seeding that makes the same inputs give the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_registry.store import Version

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class TrainResult:
    """A registered candidate, and what it was trained on."""

    version: Version
    window: str
    rows: int
    rows_rejected: int
    rows_unlabelled: int
    input_digest: str
    seed: int
    metrics: dict[str, float]

    def sentence(self) -> str:
        """The result for a person."""
        return f"{self.version} was trained on {self.rows:,} rows of {self.window} (digest {self.version.digest[:12]})."


@dataclass(frozen=True)
class Evaluation:
    """Candidate and champion on the same holdout rows."""

    candidate: Version
    champion: Version | None
    rows: int
    holdout: str
    metrics: dict[str, float]
    champion_metrics: dict[str, float] | None

    def sentence(self) -> str:
        """The result for a person."""
        from jobs.metrics import in_words

        against = (
            f"; the champion, version {self.champion.number}: {in_words(self.champion_metrics)}"
            if self.champion is not None and self.champion_metrics is not None
            else "; there is no champion yet"
        )
        return f"{self.candidate} on {self.rows:,} rows of {self.holdout}: {in_words(self.metrics)}{against}."


def seed_all(pipeline: Pipeline, seed: int) -> None:
    """Give the seed to every step that takes a `random_state` and has none of its own."""
    unset = {
        name: seed
        for name, value in pipeline.get_params(deep=True).items()
        if name.rsplit("__", 1)[-1] == "random_state" and value is None
    }
    pipeline.set_params(**unset)
