"""Waiting for a partition that is late: first a look, then a trigger, which takes no worker's slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.triggers.base import BaseTrigger, TriggerEvent

from jobs.context import JobContext
from jobs.errors import LamplighterError, Unavailable
from jobs.readiness import source_waiting_for
from jobs.settings import Settings
from jobs.spec import ModelSpec
from lamplighter_airflow.partitions import partition_of_run

POLL_SECONDS = 30.0
SCHEDULED = "scheduled"


def wait_for_partition(spec: ModelSpec) -> list[WaitForPartition]:
    """The task that waits, when the spec says for how long; no task otherwise."""
    schedule = spec.schedules.score
    if schedule is None or schedule.wait is None:
        return []
    return [WaitForPartition(model=spec.model, seconds=schedule.wait.total_seconds())]


def about_late(spec: ModelSpec) -> str:
    """What happens to a partition that is late, for the DAG's page."""
    schedule = spec.schedules.score
    if schedule is None:
        return ""
    waits = f"It waits up to {schedule.wait.total_seconds() / 3600:g} h for late rows. " if schedule.wait else ""
    alerts = f"An alert is raised if they are not published by {schedule.deadline:%H:%M}." if schedule.deadline else ""
    return waits + alerts


class WaitForPartition(BaseOperator):
    """Done when the run's partition may be read. A scheduled run waits for that, every other one goes on at once.

    Others go on, because `plan` then says in one sentence what the partition lacks. Fails for good when the partition
    is not ready `seconds` after the run was due.
    """

    ui_color = "#e8eefc"

    def __init__(self, *, model: str, seconds: float, poll_seconds: float = POLL_SECONDS, **kwargs: Any) -> None:
        super().__init__(task_id=kwargs.pop("task_id", "wait"), **kwargs)
        self.model = model
        self.seconds = seconds
        self.poll_seconds = poll_seconds

    def execute(self, context: Any) -> str:
        """Look once, and defer unless the partition is ready."""
        run = context["dag_run"]
        partition = partition_of_run(run.partition_key, context["params"].get("partition"))
        try:
            lacks = _lacks(self.model, partition)
        except LamplighterError as error:
            raise AirflowFailException(str(error)) from error
        if lacks is None:
            return f"{partition} is ready."
        if str(getattr(run.run_type, "value", run.run_type)) != SCHEDULED:
            return f"{partition} is not ready, {lacks}; only scheduled runs wait."
        until = run.run_after.timestamp() + self.seconds
        self.log.info("%s is not ready: %s. It is waited for.", partition, lacks)
        trigger = PartitionReadyTrigger(
            model=self.model, partition=partition, until=until, poll_seconds=self.poll_seconds
        )
        raise TaskDeferred(trigger=trigger, method_name="resume")

    def resume(self, context: Any, event: dict[str, Any]) -> str:  # noqa: ARG002 - Airflow passes both by name
        """Go on with what the trigger found. Raises AirflowFailException when it waited in vain."""
        if not event["ready"]:
            raise AirflowFailException(f"{event['partition']} was waited for in vain: {event['lacks'].rstrip('.')}.")
        return f"{event['partition']} is ready."


class PartitionReadyTrigger(BaseTrigger):
    """Looks at a partition's folder now and then; fires when it may be read, or when `until` (seconds) has passed."""

    def __init__(self, *, model: str, partition: str, until: float, poll_seconds: float = POLL_SECONDS) -> None:
        super().__init__()
        self.model = model
        self.partition = partition
        self.until = until
        self.poll_seconds = poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """See `BaseTrigger.serialize`."""
        kept = {name: getattr(self, name) for name in ("model", "partition", "until", "poll_seconds")}
        return f"{type(self).__module__}.{type(self).__qualname__}", kept

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """See `BaseTrigger.run`. The look itself is in a thread: a slow disk must not stop other triggers."""
        while True:
            try:
                lacks = await asyncio.to_thread(_lacks, self.model, self.partition)
            except LamplighterError as error:
                lacks, left = str(error), 0.0
            else:
                left = self.until - time.time()
            if lacks is None or left <= 0:
                yield TriggerEvent({"partition": self.partition, "ready": lacks is None, "lacks": lacks})
                return
            await asyncio.sleep(min(self.poll_seconds, left))


def _lacks(model: str, partition: str) -> str | None:
    """What the partition lacks; a source that does not answer is waited for, too. Raises what waiting does not mend."""
    try:
        job = JobContext.create(Settings.from_environment(), model, partition)
        return source_waiting_for(job.settings, job.spec, job.partition)
    except (Unavailable, OSError) as error:
        return str(error).rstrip(".")
