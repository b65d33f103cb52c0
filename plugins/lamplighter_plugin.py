"""The plugin that Airflow loads. Everything else is in the package `lamplighter_airflow`, which is only imported."""

from airflow.plugins_manager import AirflowPlugin


class LamplighterPlugin(AirflowPlugin):
    """Names Lamplighter in Airflow's list of plugins."""

    name = "lamplighter"
