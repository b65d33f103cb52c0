"""The parts of a spec that are about time: when a partition may be read, when it is run, when it must be there."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from jobs.partition import Every
from jobs.spec_gates import Part
from jobs.spec_types import Clock, Cron, Duration


class Ready(Part):
    """When a partition may be read. Without a rule it may once it has a Parquet file."""

    marker: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,99}$")] | None = None
    """Name of the file that the feed leaves in the partition's folder when it is done, like `_SUCCESS`."""
    quiet: Duration | None = None
    """How long nothing in the partition's folder may have changed."""


class Schedule(Part):
    """When a DAG runs. The calendar of the source says for which partitions: each one, once, whatever the cron is."""

    cron: Cron
    """Five fields. A partition is run at the first tick at or after the instant that `partition` names."""
    partition: Literal["begins", "ended"]
    """Whether a partition may be run once it begins, or once it has ended."""


class ScoreSchedule(Schedule):
    """When `score_<model>` runs, how long it waits for a partition that is late, and until when it must be done."""

    wait: Duration | None = None
    """How long a scheduled run waits until its partition may be read, without a worker's slot. Else it is retried."""
    deadline: Clock | None = None
    """Time of day, in the zone of the source, by which a partition must be published after its tick; else an alert."""


class Schedules(Part):
    """The schedules of both DAGs, in the time zone of the source. A DAG without one runs when triggered."""

    score: ScoreSchedule | None = None
    """Schedule of `score_<model>`."""
    retrain: Schedule | None = None
    """Schedule of `retrain_<model>`."""
    start: date = date(2013, 1, 1)
    """First day whose partitions are scheduled."""
    end: date | None = None
    """Last day whose partitions are scheduled; runs by hand and backfills do not mind."""
    catch_up: bool = False
    """Whether the scheduler runs what was missed for longer than a week, too: since a DAG was paused, or since `start`
    when it is new. Without, one that has run before leaves out nothing of the last week, and a new one begins with the
    newest partition (on a weekly cron, with those of the week)."""

    def faults(self, every: Every) -> list[str]:
        """What does not go together, in words."""
        faults = []
        if self.end is not None and self.end < self.start:
            faults.append("end must not be before start")
        if every is Every.hour and self.score is not None and self.score.deadline is not None:
            faults.append("score.deadline is a time of day, and the partitions are hours: leave it out")
        return faults
