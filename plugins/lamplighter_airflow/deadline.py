"""The deadline of a night: when its partition is not published by the time in the spec, an alert is raised."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, time, timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback
from airflow.sdk.definitions.deadline import BaseDeadlineReference, DeadlineAlert

from jobs.partition import Calendar, Every
from jobs.schedule import PartitionSchedule
from jobs.spec import ModelSpec

SCHEDULED = "scheduled"


def deadline(spec: ModelSpec) -> DeadlineAlert | None:
    """The deadline of the spec's schedule; None when it has none."""
    schedule = spec.schedules.score
    if schedule is None or schedule.deadline is None:
        return None
    reference = PartitionDeadline(
        cron=schedule.cron,
        every=spec.source.every.value,
        timezone=spec.source.timezone,
        ended=schedule.partition == "ended",
        clock=f"{schedule.deadline:%H:%M}",
    )
    callback = AsyncCallback(alert, kwargs={"model": spec.model})
    return DeadlineAlert(reference=reference, interval=timedelta(0), callback=callback, name="published in time")


class PartitionDeadline(BaseDeadlineReference):
    """The instant by which the partition of a scheduled run must be published; no instant for runs of another kind."""

    required_kwargs = {"dag_id", "run_id"}  # noqa: RUF012 - as Airflow's own references have it

    def __init__(
        self,
        cron: str = "0 0 * * *",
        every: str = "day",
        timezone: str = "UTC",
        clock: str = "06:00",
        *,
        ended: bool = False,
    ) -> None:
        self.schedule = PartitionSchedule(cron, Calendar(Every(every), timezone), ended)
        self.clock = clock

    def serialize_reference(self) -> dict[str, Any]:
        """See `BaseDeadlineReference.serialize_reference`."""
        calendar = self.schedule.calendar
        return {
            "reference_type": self.reference_name,
            "cron": self.schedule.cron,
            "every": calendar.every.value,
            "timezone": calendar.timezone,
            "clock": self.clock,
            "ended": self.schedule.ended,
        }

    @classmethod
    def deserialize_reference(cls, reference_data: dict[str, Any]) -> PartitionDeadline:
        """See `BaseDeadlineReference.deserialize_reference`."""
        return cls(**{name: reference_data[name] for name in ("cron", "every", "timezone", "clock", "ended")})

    def at(self, partition: str, now: datetime) -> datetime | None:
        """The deadline of a partition; None when it is old news at `now`, because the next one's has passed too."""
        found, clock = self.schedule.calendar.parse(partition), time.fromisoformat(self.clock)
        if self.schedule.deadline(self.schedule.calendar.after(found), clock) <= now:
            return None
        return self.schedule.deadline(found, clock)

    def _evaluate_with(self, *, session: Any, dag_id: str, run_id: str) -> datetime | None:
        from airflow.models import DagRun
        from sqlalchemy import select

        wanted = select(DagRun.partition_key, DagRun.run_type).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        partition, kind = session.execute(wanted).one()
        if partition is None or str(getattr(kind, "value", kind)) != SCHEDULED:
            return None
        return self.at(partition, datetime.now(UTC))


async def alert(model: str, context: dict[str, Any]) -> str:
    """Called by Airflow's triggerer when a deadline is missed: look whether the partition is published, else alert."""
    from jobs.alert import partition_is_late

    run = context["dag_run"]
    return await asyncio.to_thread(
        partition_is_late, model, str(run["partition_key"]), str(context["deadline"]["deadline_time"])
    )
