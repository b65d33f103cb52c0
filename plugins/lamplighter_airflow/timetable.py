"""The timetable of our DAGs: partitions from the calendar of the source, and cron ticks that only say when.

Airflow's own `CronPartitionTimetable` makes a partition of every tick: a cron on weekdays leaves gaps, one of several
ticks a day does a day several times, and every hourly one does an hour twice when the clocks go back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from airflow.exceptions import InvalidPartitionKeyError
from airflow.sdk.timezone import coerce_datetime, utcnow
from airflow.timetables.base import DagRunInfo
from airflow.timetables.trigger import CronPartitionTimetable

from jobs.errors import Misconfigured
from jobs.partition import KEY_FORMAT, Calendar, Every, Partition
from jobs.schedule import PartitionSchedule

FORGOTTEN_AFTER = timedelta(days=7)


class PartitionTimetable(CronPartitionTimetable):
    """Runs every partition of a calendar once, in order, each at its tick; schedule, form and backfill share keys."""

    def __init__(self, schedule: PartitionSchedule) -> None:
        calendar = schedule.calendar
        super().__init__(schedule.cron, timezone=calendar.timezone, key_format=KEY_FORMAT[calendar.every])
        self.schedule = schedule

    def serialize(self) -> dict[str, Any]:
        """See `Timetable.serialize`."""
        calendar = self.schedule.calendar
        return {
            "cron": self.schedule.cron,
            "every": calendar.every.value,
            "timezone": calendar.timezone,
            "ended": self.schedule.ended,
        }

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> PartitionTimetable:
        """See `Timetable.deserialize`."""
        calendar = Calendar(Every(data["every"]), data["timezone"])
        return cls(PartitionSchedule(data["cron"], calendar, data["ended"]))

    def next_dagrun_info_v2(self, *, last_dagrun_info: DagRunInfo | None, restriction: Any) -> DagRunInfo | None:
        """The run after the last one; without catch-up what was due over a week ago only if it is newest.

        A DAG that never ran begins with the newest. Airflow asks again each time when it reads the DAG, also while as
        many runs are at work as may be, and after it was down: what was due in the meantime is not to be left out then.
        """
        calendar, now = self.schedule.calendar, utcnow()
        candidates = []
        following = self._following(last_dagrun_info)
        if following is not None:
            candidates.append(following)
        if restriction.earliest is not None:
            earliest = self.localize_partition_datetime(restriction.earliest)
            if following is None or following.start < earliest:
                candidates.append(calendar.starting_at_or_after(earliest))
        if not candidates or not (restriction.catchup or following):
            candidates.append(self.schedule.newest(now))
        elif not restriction.catchup:
            week = self.schedule.since(now - FORGOTTEN_AFTER)
            candidates.append(min(week, self.schedule.newest(now), key=lambda partition: partition.start))
        found = max(candidates, key=lambda partition: partition.start)
        if restriction.latest is not None and found.start > self._last_instant(restriction.latest):
            return None
        return _info(found, self.schedule.tick(found))

    def iter_partition_dagrun_infos(self, *, earliest: datetime, latest: datetime) -> Iterator[DagRunInfo]:
        """The partitions that begin in the closed interval, whose bounds are wall-clock times: those of a backfill.

        Those that have not begun (or ended, if that is what the schedule waits for) are left to the schedule.
        """
        calendar, now = self.schedule.calendar, utcnow()
        last = self.localize_partition_datetime(latest)
        at = calendar.starting_at_or_after(self.localize_partition_datetime(earliest))
        while at.start <= last and self.schedule.is_due(at, now):
            yield _info(at, at.start)
            at = calendar.after(at)

    def localize_partition_datetime(self, dt: datetime) -> Any:
        """See `Timetable.localize_partition_datetime`: a time that the clock shows twice is the first of the two."""
        local = dt.replace(tzinfo=ZoneInfo(self.schedule.calendar.timezone), fold=0)
        return coerce_datetime(local.astimezone(UTC))

    def _following(self, last: DagRunInfo | None) -> Partition | None:
        """The partition after that of the last run, whose key may be one of a calendar that the spec had before."""
        if last is None or last.partition_key is None:
            return None
        calendar = self.schedule.calendar
        try:
            return calendar.after(calendar.parse(last.partition_key))
        except Misconfigured:
            began = last.partition_date
            return None if began is None else calendar.starting_at_or_after(began + timedelta(microseconds=1))

    def _decode_partition_date(self, partition_key: str) -> datetime:
        try:
            return self.schedule.calendar.parse(partition_key).start
        except Misconfigured as error:
            raise InvalidPartitionKeyError(str(error)) from error

    def _last_instant(self, latest: datetime) -> datetime:
        """The end of the last day, on the clock of the zone."""
        local = latest.replace(hour=23, minute=59, second=59)
        found: datetime = self.localize_partition_datetime(local)
        return found


def _info(partition: Partition, run_after: datetime) -> DagRunInfo:
    return DagRunInfo(
        run_after=coerce_datetime(run_after),
        data_interval=None,
        partition_date=coerce_datetime(partition.start),
        partition_key=partition.key,
    )
