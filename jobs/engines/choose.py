"""Which engine does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import Misconfigured

if TYPE_CHECKING:
    from jobs.engines.engine import Engine
    from jobs.settings import Settings

LARGE = 1_000_000
PROCESSES = "processes"
"""In place of the address of a Dask scheduler: workers that are processes of this machine."""


def choose_engine(name: str, rows: int, workers: int, settings: Settings, *, compiled: bool = False) -> Engine:
    """The engine called `name`; `auto` takes `local` below a million rows, else the configured cluster, or Dask.

    Dask's own workers are threads for a version that is `compiled`, unless the settings want processes. Raises
    Misconfigured for another name.
    """
    from jobs.engines.dask import DaskEngine
    from jobs.engines.local import LocalEngine
    from jobs.engines.spark import SparkEngine

    scheduler = settings.dask_scheduler if settings.dask_scheduler != PROCESSES else None
    if name == "auto":
        large = "spark" if settings.spark_master and not scheduler else "dask"
        name = large if rows >= LARGE else "local"
    if name == "local":
        return LocalEngine(workers)
    if name == "dask":
        return DaskEngine(workers, scheduler, threads=compiled and settings.dask_scheduler != PROCESSES)
    if name == "spark":
        return SparkEngine(workers, settings.spark_master)
    raise Misconfigured(f"There is no engine {name!r}: choose auto, local, dask or spark.")
