"""Partitions: a key, and the half-open interval of time in UTC that it stands for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from jobs.errors import Misconfigured


class Every(StrEnum):
    """How long a partition is, on the clock of its time zone."""

    hour = "hour"
    day = "day"


KEY_FORMAT = {Every.hour: "%Y-%m-%dT%H", Every.day: "%Y-%m-%d"}
EXAMPLE = {Every.hour: "2013-03-01T14", Every.day: "2013-03-01"}


@dataclass(frozen=True)
class Partition:
    """The partition `key`, from `start` (included) to `end` (not included), both UTC."""

    key: str
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return self.key


@dataclass(frozen=True)
class Calendar:
    """The partitions of a source: one `every` day or hour in `timezone`."""

    every: Every
    timezone: str = "UTC"

    def parse(self, key: str) -> Partition:
        """The partition that a key names. Raises Misconfigured for a key of another form."""
        try:
            found = self._from_local(self._local(key))
        except (ValueError, OverflowError):  # the latter at the end of time
            found = None
        if found is None or found.key != key:
            raise Misconfigured(
                f"{key[:60]!r} is no partition key: write one like {EXAMPLE[self.every]}, for one {self.every}."
            )
        if found.start == found.end:
            raise Misconfigured(f"There is no {key} in {self.timezone}: the clock change leaves that {self.every} out.")
        return found

    def ending_at_or_before(self, instant: datetime) -> Partition:
        """The newest partition that is over at `instant`."""
        local = instant.astimezone(ZoneInfo(self.timezone)).replace(tzinfo=None)
        whole = {"minute": 0, "second": 0, "microsecond": 0} | ({"hour": 0} if self.every is Every.day else {})
        found = self._from_local(local.replace(**whole))  # type: ignore[arg-type]
        while found.end > instant:
            found = self.before(found)
        return found

    def before(self, partition: Partition) -> Partition:
        """The partition just before."""
        local = self._local(partition.key) - self._step
        while (found := self._from_local(local)).start == found.end:
            local -= self._step  # an hour that the clock change leaves out
        return found

    def after(self, partition: Partition) -> Partition:
        """The partition just after."""
        local = self._local(partition.key) + self._step
        while (found := self._from_local(local)).start == found.end:
            local += self._step
        return found

    def starting_at_or_after(self, instant: datetime) -> Partition:
        """The oldest partition that does not begin before `instant`."""
        found = self.after(self.ending_at_or_before(instant))
        while found.start < instant:
            found = self.after(found)
        return found

    def between(self, first: Partition, last: Partition) -> tuple[Partition, ...]:
        """The partitions from `first` to `last`, both included, oldest first; none when `last` is the older one."""
        found = []
        at = first
        while at.start <= last.start:
            found.append(at)
            at = self.after(at)
        return tuple(found)

    def back_from(self, newest: Partition, length: timedelta) -> tuple[Partition, ...]:
        """The partitions that lie within `length` before the end of `newest`, oldest first.

        `length` is measured on the clock of the time zone: one day back is one partition, also when it has 25 hours.
        """
        found: list[Partition] = []
        at, oldest = newest, self._local(newest.key) + self._step - length
        while self._local(at.key) >= oldest:
            found.append(at)
            at = self.before(at)
        return tuple(reversed(found))

    def local(self, partition: Partition) -> datetime:
        """When a partition begins, on the clock of the time zone (without a zone)."""
        return self._local(partition.key)

    def _local(self, key: str) -> datetime:
        return _read(key, KEY_FORMAT[self.every])

    @property
    def _step(self) -> timedelta:
        return timedelta(days=1) if self.every is Every.day else timedelta(hours=1)

    def _from_local(self, local: datetime) -> Partition:
        zone = ZoneInfo(self.timezone)
        start = local.replace(tzinfo=zone).astimezone(UTC)
        end = (local + self._step).replace(tzinfo=zone).astimezone(UTC)
        return Partition(local.strftime(KEY_FORMAT[self.every]), start, end)


@lru_cache(maxsize=64)
def _read(key: str, form: str) -> datetime:
    return datetime.strptime(key, form)  # noqa: DTZ007 - the zone follows
