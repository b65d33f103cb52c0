"""Whether a partition may be read, or is still on its way. Looks at names and times of files only, never into them."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.storage import Place, last_change, place

if TYPE_CHECKING:
    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.spec_schedule import Ready


def partition_folder(data: Place, path: str, column: str, partition: Partition) -> Place:
    """The folder of a partition; `path` is taken as is when it is absolute or a URL."""
    return place(path, data) / f"{column}={partition.key}"


def parquet_paths(folder: Place) -> list[Place]:
    """The Parquet files of a partition's folder, in the order of their names; hidden ones are not counted."""
    return sorted((p for p in folder.glob("*.parquet") if not p.name.startswith((".", "_"))), key=str)


def waiting_for(folder: Place, ready: Ready, now: float | None = None) -> str | None:
    """What a partition's folder still lacks before it may be read, as the end of a sentence; None when it may be.

    `now` is the clock in seconds since 1970, the machine's own unless given.
    """
    if not parquet_paths(folder):
        return f"it has no files: expected Parquet files in {folder.name}"
    if ready.marker is not None and not (folder / ready.marker).is_file():
        return f"its marker {ready.marker} is not there"
    if ready.quiet is not None:
        newest = last_change(folder)
        quiet = timedelta(seconds=(time.time() if now is None else now) - newest)
        if quiet < ready.quiet:
            since = max(0, int(quiet.total_seconds()))
            return f"it changed {since} s ago, and must be quiet for {int(ready.quiet.total_seconds())} s"
    return None


def source_waiting_for(settings: Settings, spec: ModelSpec, partition: Partition) -> str | None:
    """What a partition of the source still lacks before it may be read, as the end of a sentence; None if nothing.

    No row is read. Raises Misconfigured and Unavailable.
    """
    source = spec.source
    if source.kind == "parquet":
        return waiting_for(partition_folder(settings.data, source.path, source.column, partition), source.ready)
    if source.kind == "delta":
        from jobs.delta_source import delta_files  # Airflow imports this module, and loads no pyarrow for it

        there = bool(delta_files(settings.data, source, source.column, partition)[0])
    else:
        from jobs.sql_source import has_rows

        there = has_rows(spec, source, partition)
    return None if there else f"it has no rows in {source.path}"
