"""When each partition is run: a cron expression over the calendar of a source.

The calendar says which partitions there are, the cron expression only when work begins: a partition is run at the first
tick at or after it begins (or has ended). So every partition is run once, whatever the expression and whatever the
clocks do: a weekly cron runs seven days on its tick, an hourly cron runs a day once.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from jobs.partition import Calendar, Partition

if TYPE_CHECKING:
    from croniter import croniter

    from jobs.spec import ModelSpec
    from jobs.spec_schedule import Schedule


@dataclass(frozen=True)
class PartitionSchedule:
    """The runs of a schedule. Ticks are wall-clock times in the calendar's zone.

    A tick that the clock change leaves out happens that much later, one that it repeats happens once, the first time.
    """

    cron: str
    calendar: Calendar
    ended: bool

    @classmethod
    def of(cls, spec: ModelSpec, schedule: Schedule) -> PartitionSchedule:
        """The runs of a schedule of a spec."""
        return cls(schedule.cron, spec.source.calendar, schedule.partition == "ended")

    def tick(self, partition: Partition) -> datetime:
        """When the partition is run (UTC)."""
        return self._from_local(self._tick(partition))

    def is_due(self, partition: Partition, now: datetime) -> bool:
        """Whether the partition has begun (or ended) by `now`, so that a run of it makes sense at all."""
        return self._anchor(partition) <= now

    def newest(self, now: datetime) -> Partition:
        """The first of the partitions that are run at the last tick up to `now` that runs any."""
        last = self._previous(self._local(now) + timedelta(seconds=1))
        while self._from_local(last) > now:  # the clock change repeats this hour, or had left it out
            last = self._previous(last)
        due = self.calendar.before(self._beginning_after(self._from_local(last)))
        return self._beginning_after(self._from_local(self._previous(self._tick(due))))

    def since(self, instant: datetime) -> Partition:
        """The first of the partitions that are run at `instant` or later."""
        return self._beginning_after(self._from_local(self._previous(self._next(self._local(instant)))))

    def deadline(self, partition: Partition, clock: time) -> datetime:
        """The first instant (UTC) at or after the partition's tick at which the clock of the zone shows `clock`."""
        tick = self.tick(partition)
        local = datetime.combine(self._local(tick).date(), clock)
        found = self._from_local(local)
        return found if found >= tick else self._from_local(local + timedelta(days=1))

    def _tick(self, partition: Partition) -> datetime:
        """The tick of a partition as the clock of the zone shows it."""
        calendar = self.calendar
        return self._next(calendar.local(calendar.after(partition) if self.ended else partition))

    def _beginning_after(self, instant: datetime) -> Partition:
        """The first partition that begins (or ends) after `instant`."""
        found = self.calendar.starting_at_or_after(instant - timedelta(days=2))
        while self._anchor(found) <= instant:
            found = self.calendar.after(found)
        return found

    def _anchor(self, partition: Partition) -> datetime:
        return partition.end if self.ended else partition.start

    def _local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.calendar.timezone)).replace(tzinfo=None)

    def _from_local(self, local: datetime) -> datetime:
        return local.replace(tzinfo=ZoneInfo(self.calendar.timezone)).astimezone(UTC)

    def _next(self, local: datetime) -> datetime:
        found: datetime = _ticks(self.cron, local - timedelta(seconds=1)).get_next(datetime)
        return found

    def _previous(self, local: datetime) -> datetime:
        found: datetime = _ticks(self.cron, local).get_prev(datetime)
        return found


def _ticks(cron: str, since: datetime) -> croniter:
    ticks = copy(_parsed(cron))
    ticks.set_current(since, force=True)
    return ticks


@cache
def _parsed(cron: str) -> croniter:
    from croniter import croniter

    return croniter(cron, datetime(2000, 1, 1))  # noqa: DTZ001 - wall-clock time; each use sets its own
