"""The spec's section `behaviour`: how a candidate must score rows that the holdout does not have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, model_validator

from jobs.spec_gates import Part
from model_registry.rules import Mode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.spec import Feature


class Direction(Part):
    """A number is changed, and the score must follow. Rows that would then be rejected do not count."""

    feature: str = Field(min_length=1)
    """Name of a feature of the kind `number`."""
    add: float | None = None
    """Added to the feature; this or `times`."""
    times: float | None = None
    """The feature is multiplied by this; this or `add`."""
    score: Literal["any", "up", "down"] = "any"
    """`any` asks for a finite score within its bounds, `up` also that it is not lower, `down` that it is not higher."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows for which this must hold."""
    tolerance: float = Field(default=0.0, ge=0)
    """How far a score may go the other way."""
    mode: Mode = Mode.enforce
    """`enforce` closes the gate, `warn` is reported, `off` is not asked."""

    @model_validator(mode="after")
    def _changes_something(self) -> Direction:
        if (self.add is None) == (self.times is None):
            raise ValueError("a direction needs add or times, and not both")
        if self.add == 0 or self.times == 1:
            raise ValueError("a direction must change the feature: add 0 and times 1 do not")
        if self.tolerance and self.score == "any":
            raise ValueError("tolerance goes with score: up or down")
        return self

    @property
    def change(self) -> str:
        """What is done to the feature, in words."""
        return f"{self.feature} + {self.add:g}" if self.add is not None else f"{self.feature} * {self.times:g}"


class Invariance(Part):
    """A feature is swapped for other values that the holdout has, and the score must stay about where it was."""

    feature: str = Field(min_length=1)
    """Name of a feature of any kind."""
    at_most: float = Field(ge=0)
    """Largest change of the score that is allowed."""
    share: float = Field(default=1.0, gt=0, le=1)
    """Share of the rows for which this must hold."""
    mode: Mode = Mode.enforce
    """`enforce` closes the gate, `warn` is reported, `off` is not asked."""


class Behaviour(Part):
    """How a candidate must score rows that the holdout does not have: nulls, unseen and extreme values."""

    mode: Mode = Mode.enforce
    """Of the standing probes: rows with nulls, unseen categories, empty text or extreme values score within bounds."""
    rows: int = Field(default=200, ge=1, le=10_000)
    """Rows of the holdout that the probes change."""
    extreme: float = Field(default=1e30, ge=1)
    """Stands for the end that a number's rules leave open: beyond any integer, and still a number to float32 trees."""
    directions: tuple[Direction, ...] = ()
    """How the score must follow a number."""
    invariances: tuple[Invariance, ...] = ()
    """What the score must hardly depend on."""


def faults(behaviour: Behaviour, features: Mapping[str, Feature]) -> list[str]:
    """What does not fit the features: one sentence each, beginning with the place in the section."""
    asked: list[tuple[str, Direction | Invariance]] = [
        *((f"directions[{n}]", direction) for n, direction in enumerate(behaviour.directions)),
        *((f"invariances[{n}]", invariance) for n, invariance in enumerate(behaviour.invariances)),
    ]
    found = []
    for where, probe in asked:
        feature = features.get(probe.feature)
        if feature is None:
            found.append(f"behaviour.{where}: there is no feature {probe.feature}; there are {', '.join(features)}")
        elif isinstance(probe, Direction) and feature.kind.value != "number":
            found.append(
                f"behaviour.{where}: {probe.feature} is a {feature.kind.value}, and a direction needs a number"
            )
    return found
