"""What the timeline means, row by row and as slowly as it takes: what the fast functions are held against."""

from __future__ import annotations

from datetime import datetime

from model_registry.timeline import Kind, Promotion


def in_force(rows: list[Promotion], order: int, at: datetime) -> bool:
    """Whether a row of production counts at an instant, when every later row may have ended it."""
    row, later = rows[order], rows[order + 1 :]
    if not row.effective_from <= at or (row.until is not None and at >= row.until):
        return False
    backs = [p for p in rows[order:] if p.kind is Kind.roll_back and p.replaces == row.version]
    if any(at >= p.effective_from for p in backs):
        return False
    if any(p.kind is Kind.roll_back and row.effective_from >= p.effective_from for p in later):
        return False
    mine = [p for p in later if p.version == row.version]
    renewed = row.kind is Kind.override and bool(mine) and mine[0].effective_from >= row.effective_from
    return not (renewed and at >= mine[0].effective_from)


def simply_effective(rows: list[Promotion], at: datetime, known_at: datetime | None = None) -> Promotion | None:
    """The newest row in force."""
    known = [p for p in rows if known_at is None or p.recorded_at <= known_at]
    return _newest([p for order, p in enumerate(known) if in_force(known, order, at)])


def simply_current(rows: list[Promotion], now: datetime) -> Promotion | None:
    """The newest row that is in force now or will be."""
    return _newest([p for order, p in enumerate(rows) if in_force(rows, order, max(now, p.effective_from))])


def simply_withdrawn(rows: list[Promotion]) -> set[int]:
    """The versions whose last row in production is not later than their last roll back."""
    found = set()
    for version in {p.replaces for p in rows if p.kind is Kind.roll_back and p.replaces is not None}:
        back = max(n for n, p in enumerate(rows) if p.kind is Kind.roll_back and p.replaces == version)
        if all(n <= back for n, p in enumerate(rows) if p.version == version):
            found.add(version)
    return found


def _newest(rows: list[Promotion]) -> Promotion | None:
    answer = None
    for row in rows:
        if answer is None or row.effective_from >= answer.effective_from:
            answer = row
    return answer
