"""What the ledger says of a model: every move of a version to a stage, or what was in force at a time."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobs.errors import Misconfigured
from jobs.spec_file import load_spec
from model_registry.store import Stage
from model_registry.timeline import Promotion, in_force

if TYPE_CHECKING:
    from jobs.partition import Calendar
    from jobs.settings import Settings
    from model_registry.promotion import Registry


def moves(
    settings: Settings,
    registry: Registry,
    model: str,
    at: datetime | None = None,
    known_at: datetime | None = None,
) -> list[Promotion]:
    """All moves in the order in which they were recorded; with `at`, one for each stage: the one in force then.

    `known_at` leaves out what was recorded later. Raises Misconfigured when there is no such model.
    """
    load_spec(settings.models, model)
    with suppress(Misconfigured):  # an alias that was moved by hand changes nothing in what was recorded
        registry.settle(model)
    with registry.ledger.reading() as session:
        rows = session.history(model)
    if at is None:
        return [row for row in rows if known_at is None or row.recorded_at <= known_at]
    found = (in_force(rows, stage, at, known_at) for stage in Stage)
    return [row for row in found if row is not None]


def parse_instant(text: str, calendar: Calendar | None = None) -> datetime:
    """The start of a partition by its key, or an ISO 8601 instant or day, without a zone on the clock of the calendar.

    UTC without a calendar. Raises Misconfigured.
    """
    if calendar is not None:
        with suppress(Misconfigured):
            return calendar.parse(text).start
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Misconfigured(f"{text[:60]!r} is no instant: write one like 2013-03-05 or 2013-03-05T12:00Z.") from None
    return found if found.tzinfo else found.replace(tzinfo=ZoneInfo(calendar.timezone) if calendar else UTC)
