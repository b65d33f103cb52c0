"""The plugin that Airflow loads. Everything else is in the package `lamplighter_airflow`, which is only imported."""

from airflow.plugins_manager import AirflowPlugin

from lamplighter_airflow.deadline import PartitionDeadline
from lamplighter_airflow.timetable import PartitionTimetable


class LamplighterPlugin(AirflowPlugin):
    """Names Lamplighter in Airflow's list of plugins, and what DAGs of ours are made of when they are read back."""

    name = "lamplighter"
    deadline_references = [PartitionDeadline]  # noqa: RUF012 - Airflow wants lists
    timetables = [PartitionTimetable]  # noqa: RUF012
