"""The moves of a model's versions, and what they mean: which version is in force when. Pure functions over rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from model_registry.store import Stage

END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Kind(StrEnum):
    """Why a version was moved to a stage."""

    promotion = "promotion"
    override = "override"
    roll_back = "roll back"
    challenge = "challenge"
    archive = "archive"
    external = "external"


@dataclass(frozen=True)
class Promotion:
    """One move of a version to a stage, as the ledger keeps it.

    `evidence` is the digest of the decision that it rests on, `replaces` the version that was there before, `until` the
    end of an override, `request` names what asked for it, so that asking again finds what was done.
    """

    model: str
    version: int
    digest: str
    stage: Stage
    effective_from: datetime
    recorded_at: datetime
    actor: str
    reason: str
    evidence: str | None
    kind: Kind = Kind.promotion
    until: datetime | None = None
    replaces: int | None = None
    approved_by: str | None = None
    request: str | None = None


def effective(history: Sequence[Promotion], at: datetime, known_at: datetime | None = None) -> Promotion | None:
    """The newest of `history` (in recorded order) in force at business time `at`; of two that began at once, the later.

    `known_at` leaves out what was recorded later. A row that has ended (see `ends`) is out, and the one before it is in
    force again: so an override expires.
    """
    known = [p for p in history if known_at is None or p.recorded_at <= known_at]
    return _newest(p for p, end in _spans(known) if p.effective_from <= at and (end is None or at < end))


def current(history: Sequence[Promotion], now: datetime) -> Promotion | None:
    """The newest of `history` at all, those that begin later included; `now` tells which overrides have expired."""
    return _newest(p for p, end in _spans(history) if end is None or now < end)


def ends(history: Sequence[Promotion]) -> list[datetime | None]:
    """When each row ends: at its `until`, and before that when the next row of its version renews it.

    A roll back ends all earlier rows of the version that it withdraws where it begins itself, and all that begin after
    that; and itself too when it names that version: there was none to return to.
    """
    found: list[datetime | None] = []
    gone: dict[int, datetime] = {}
    following: dict[int, datetime] = {}
    back: datetime | None = None
    for row in reversed(history):
        if row.kind is Kind.roll_back and row.replaces is not None:
            gone[row.replaces] = min(row.effective_from, gone.get(row.replaces, row.effective_from))
        limits = [row.until, gone.get(row.version)]
        if back is not None and row.effective_from >= back:
            limits.append(back)
        if row.kind is Kind.override and following.get(row.version, row.effective_from) >= row.effective_from:
            limits.append(following.get(row.version))
        found.append(min((limit for limit in limits if limit is not None), default=None))
        following[row.version] = row.effective_from
        if row.kind is Kind.roll_back:
            back = min(row.effective_from, back or row.effective_from)
    return found[::-1]


def _spans(history: Sequence[Promotion]) -> list[tuple[Promotion, datetime | None]]:
    """The rows that are in force for any time at all, each with its end."""
    spans = zip(history, ends(history), strict=True)
    return [(row, end) for row, end in spans if end is None or row.effective_from < end]


def _newest(rows: Iterable[Promotion]) -> Promotion | None:
    ranked = [(p.effective_from, order, p) for order, p in enumerate(rows)]
    return max(ranked, key=lambda entry: entry[:2])[2] if ranked else None


def standing(history: Sequence[Promotion], stage: Stage, now: datetime) -> int | None:
    """The version that the stage's alias should point to at clock time `now`."""
    if stage is Stage.production:
        row = current([p for p in history if p.stage is stage], now)
        return row.version if row else None
    row = _waiting(history, stage)
    return row.version if row else None


def in_force(
    history: Sequence[Promotion], stage: Stage, at: datetime, known_at: datetime | None = None
) -> Promotion | None:
    """The row that says what was in a stage at business time `at`, as was known at clock time `known_at`."""
    if stage is Stage.production:
        return effective([p for p in history if p.stage is stage], at, known_at)
    known = [p for p in history if p.effective_from <= at and (known_at is None or p.recorded_at <= known_at)]
    return _waiting(known, stage)


def _waiting(history: Sequence[Promotion], stage: Stage) -> Promotion | None:
    """The newest row of the stage whose version was not moved to another stage since."""
    place = {p.version: p.stage for p in history}
    rows = [p for p in history if p.stage is stage and place[p.version] is stage]
    return rows[-1] if rows else None


def withdrawn(history: Sequence[Promotion]) -> dict[int, Promotion]:
    """The versions that were rolled back and not put into production again since, with the row that did it."""
    found: dict[int, Promotion] = {}
    for row in history:
        if row.stage is Stage.production:
            found.pop(row.version, None)
            if row.kind is Kind.roll_back and row.replaces is not None:
                found[row.replaces] = row
    return found


def began(history: Sequence[Promotion], now: datetime) -> datetime | None:
    """Since when (business time) the version that is in production now has been there without a break."""
    rows = [p for p in history if p.stage is Stage.production]
    newest = current(rows, now)
    if newest is None:
        return None
    start = newest.effective_from
    changes = {instant for p, end in _spans(rows) for instant in (p.effective_from, end) if instant is not None}
    for instant in sorted((instant for instant in changes if instant < start), reverse=True):
        there = effective(rows, instant)
        if there is None or there.version != newest.version:
            break
        start = instant
    return start


def before(history: Sequence[Promotion], now: datetime) -> list[int]:
    """The versions that a roll back may return to, best first: in production before, and not withdrawn since."""
    rows = [p for p in history if p.stage is Stage.production]
    newest = current(rows, now)
    gone = withdrawn(history)
    place = {p.version: p.stage for p in history}
    archived = {version for version, stage in place.items() if stage is Stage.archived}
    ranked = sorted(enumerate(rows), key=lambda entry: (entry[1].effective_from, entry[0]), reverse=True)
    found = [p.version for _, p in ranked if p.kind is not Kind.override]
    skip = gone.keys() | archived | ({newest.version} if newest else set())
    return list(dict.fromkeys(version for version in found if version not in skip))
