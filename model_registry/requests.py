"""What is asked of the registry, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from model_registry.store import Stage, Version


class Approval(StrEnum):
    """Whether a person must agree before a version gets to production; `two_persons`: another than who asked."""

    none = "none"
    required = "required"
    two_persons = "two_persons"


class Outcome(StrEnum):
    """What a call did."""

    promoted = "promoted"
    staged = "staged"
    archived = "archived"
    rolled_back = "rolled_back"
    kept = "kept"
    unchanged = "unchanged"


@dataclass(frozen=True)
class Request:
    """Who wants a version in which stage, from when, and why.

    With `until` it overrides a gate that is closed, and ends then. `id` names the request: the same one again finds
    what it did. `by_name` tells that a person named the version, so that one which was withdrawn may come back.
    `approval` is what the spec demands, `approved_by` who agreed.
    """

    stage: Stage
    effective_from: datetime
    actor: str
    reason: str
    recorded_at: datetime
    until: datetime | None = None
    approval: Approval = Approval.none
    approved_by: str | None = None
    id: str | None = None
    by_name: bool = False


@dataclass(frozen=True)
class PromotionResult:
    """The outcome of a move in words and figures.

    `withdrawn` is the version that a roll back took out, `version` None when there was none to return to.
    """

    outcome: Outcome
    version: Version | None
    stage: Stage | None
    effective_from: datetime | None
    sentence: str
    withdrawn: int | None = None


def carried_out(candidate: Version, request: Request, there: int | None = None) -> PromotionResult:
    """The answer to a request that was carried out; `there` is the version that is in production now."""
    if request.stage is not Stage.production:
        words = f"{candidate} waits in {request.stage}."
        return PromotionResult(Outcome.staged, candidate, request.stage, request.effective_from, words)
    words = f"{candidate} is in production from {request.effective_from:%Y-%m-%d %H:%M} UTC on"
    if request.until is not None:
        words += f" until {request.until:%Y-%m-%d %H:%M} UTC, by an override ({request.reason})"
    if there not in {None, candidate.number}:
        words += f", until version {there} began: that one stays in production now"
    return PromotionResult(Outcome.promoted, candidate, Stage.production, request.effective_from, f"{words}.")
