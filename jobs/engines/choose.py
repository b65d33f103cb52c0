"""Which engine does the work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.errors import Misconfigured

if TYPE_CHECKING:
    from jobs.engines.engine import Engine
    from jobs.settings import Settings

LARGE = 1_000_000


def choose_engine(name: str, rows: int, workers: int, settings: Settings) -> Engine:
    """The engine called `name`; `auto` takes `local` below a million rows, else the configured cluster, or Dask.

    Raises Misconfigured for another name.
    """
    from jobs.engines.dask import DaskEngine
    from jobs.engines.local import LocalEngine
    from jobs.engines.spark import SparkEngine

    if name == "auto":
        large = "spark" if settings.spark_master and not settings.dask_scheduler else "dask"
        name = large if rows >= LARGE else "local"
    if name == "local":
        return LocalEngine(workers)
    if name == "dask":
        return DaskEngine(workers, settings.dask_scheduler)
    if name == "spark":
        return SparkEngine(workers, settings.spark_master)
    raise Misconfigured(f"There is no engine {name!r}: choose auto, local, dask or spark.")
