"""Whether a partition may be read, or is still on its way. Looks at names and times of files only, never into them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from jobs.errors import Rejected, printable
from jobs.storage import Place, last_change, place

if TYPE_CHECKING:
    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.spec_schedule import Ready


AHEAD = 60
"""Seconds by which the clock of a feed may be fast."""


def partition_folder(data: Place, path: str, column: str, partition: Partition) -> Place:
    """The folder of a partition; `path` is taken as is when it is absolute or a URL."""
    return place(path, data) / f"{column}={partition.key}"


def parquet_paths(folder: Place, ready: Ready | None = None) -> list[Place]:
    """The Parquet files of a partition's folder that is `ready` by this rule, in the order of their names.

    Raises Rejected when something else lies beside them: it could hold rows. Hidden names, checksums (`.crc`) and the
    marker of the rule do not count.
    """
    marker = ready.marker if ready is not None else None
    seen = sorted((p for p in folder.glob("*") if not p.name.startswith((".", "_"))), key=str)
    paths = [p for p in seen if p.name.endswith(".parquet")]
    strays = [p.name for p in seen if p.name != marker and not p.name.endswith((".parquet", ".crc"))]
    if paths and strays:
        more = f" and {len(strays) - 1} more" if len(strays) > 1 else ""
        raise Rejected(
            f"{folder.name} holds {printable(strays[0])}{more}, and rows in it would be left out: deliver rows as "
            f"*.parquet in the folder itself, begin other names with _ or ., and name the marker in the spec."
        )
    return paths


def has_files(folder: Place) -> bool:
    """Whether a partition's folder has a Parquet file, whatever lies beside it."""
    return any(not p.name.startswith((".", "_")) for p in folder.glob("*.parquet"))


def waiting_for(folder: Place, ready: Ready, now: float | None = None) -> str | None:
    """What a partition's folder still lacks before it may be read, as the end of a sentence; None when it may be.

    `now` is the clock in seconds since 1970, the machine's own unless given.
    """
    if not has_files(folder):
        return f"it has no files: expected Parquet files in {folder.name}"
    if ready.marker is not None and not (folder / ready.marker).is_file():
        return f"its marker {ready.marker} is not there"
    if ready.quiet is not None:
        newest = last_change(folder)
        quiet = timedelta(seconds=(time.time() if now is None else now) - newest)
        if quiet < ready.quiet:
            since = int(quiet.total_seconds())
            if since < -AHEAD:
                at = datetime.fromtimestamp(newest, UTC)
                return f"it has a file of {at:%Y-%m-%d %H:%M} UTC, which is yet to come: set the feed's clock right"
            since = max(0, since)
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
