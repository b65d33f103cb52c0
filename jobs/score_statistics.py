"""What scores are like, added up over batches, fragments and files."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class ScoreStatistics:
    """How many scores are not finite, and the smallest, the largest and the sum of the others."""

    not_finite: int = 0
    low: float = math.inf
    high: float = -math.inf
    sum: float = 0.0

    def add(self, scores: np.ndarray[Any, np.dtype[np.float64]]) -> None:
        """Add the scores of some rows, shape (rows,)."""
        finite = np.isfinite(scores)
        if not finite.all():
            self.not_finite += len(scores) - int(finite.sum())
            scores = scores[finite]
        self.low = float(scores.min(initial=self.low))
        self.high = float(scores.max(initial=self.high))
        self.sum += float(scores.sum())

    def merge(self, other: ScoreStatistics) -> None:
        """Add what another one has seen."""
        self.not_finite += other.not_finite
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self.sum += other.sum

    @property
    def smallest(self) -> float | None:
        """The smallest finite score, or None without any."""
        return self.low if self.low <= self.high else None

    @property
    def largest(self) -> float | None:
        """The largest finite score, or None without any."""
        return self.high if self.low <= self.high else None
