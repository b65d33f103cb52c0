"""Partition keys in Airflow: the timetable that gives them, and the key of a run."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowFailException

from jobs.partition import Every
from jobs.schedule import PartitionSchedule
from jobs.spec import ModelSpec
from jobs.spec_schedule import Schedule
from lamplighter_airflow.timetable import PartitionTimetable


def timetable(spec: ModelSpec, schedule: Schedule | None) -> Any:
    """The timetable of a schedule, so that schedule, UI and backfill speak the same keys; None without a schedule."""
    return PartitionTimetable(PartitionSchedule.of(spec, schedule)) if schedule is not None else None


def partition_of_run(key: str | None, param: str | None) -> str:
    """The partition of a DAG run: its partition key, or the Param of the form.

    Raises AirflowFailException when there is neither, or both and they differ.
    """
    if key and param and key != param:
        raise AirflowFailException(
            f"This run has the partition key {key} and the parameter partition {param}: trigger it with one of them."
        )
    found = key or param
    if not found:
        raise AirflowFailException("This run has no partition: trigger it again, and fill in the field 'partition'.")
    return found


def pattern(every: Every) -> str:
    """A regular expression of the keys, for the form; the job checks again."""
    return r"^[0-9]{4}-[0-9]{2}-[0-9]{2}" + ("$" if every is Every.day else r"T[0-9]{2}$")
