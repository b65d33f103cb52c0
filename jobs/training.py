"""What the job `train` hands on, and the seeding that makes the same inputs give the same model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_registry.store import Version

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class Registered:
    """A version that the registry has."""

    version: Version

    def sentence(self) -> str:
        """The result for a person."""
        return f"{self.version} is registered for {self.version.partition} (digest {self.version.digest[:12]})."


@dataclass(frozen=True)
class TrainResult:
    """A registered candidate, and what it was trained on; `not_compiled` says why scikit-learn scores, if it does."""

    version: Version
    window: str
    rows: int
    rows_rejected: int
    rows_unlabelled: int
    input_digest: str
    seed: int
    metrics: dict[str, float]
    not_compiled: str = ""

    def sentence(self) -> str:
        """The result for a person."""
        made = f"{self.version} was trained on {self.rows:,} rows of {self.window} (digest {self.version.digest[:12]})."
        return f"{made} {self.not_compiled} So scikit-learn scores." if self.not_compiled else made


def seed_all(pipeline: Pipeline, seed: int) -> None:
    """Give the seed to every step that takes a `random_state` and has none of its own."""
    unset = {
        name: seed
        for name, value in pipeline.get_params(deep=True).items()
        if name.rsplit("__", 1)[-1] == "random_state" and value is None
    }
    pipeline.set_params(**unset)
