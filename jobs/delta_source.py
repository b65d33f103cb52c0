"""Partitions of a Delta table: the files that one version of it lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake.exceptions import DeltaError

from jobs.errors import Misconfigured, in_brief
from jobs.storage import Place, place
from jobs.table import open_table

if TYPE_CHECKING:
    from jobs.partition import Partition
    from jobs.spec_storage import Stored

CANNOT = {"deletionVectors", "columnMapping"}
"""Features of a table whose files alone are not its rows."""


def delta_files(data: Place, stored: Stored, column: str, partition: Partition) -> tuple[list[Place], int | None]:
    """The files of a partition in the pinned version, or in the newest one, and which version that is.

    Nothing and None when there is no table yet. Raises Misconfigured when it cannot be read like this, Unavailable.
    """
    where = place(stored.path, data)
    try:
        table = open_table(where, stored.version)
    except (DeltaError, OSError) as error:
        version = "" if stored.version is None else f" in version {stored.version}"
        raise Misconfigured(f"{stored.path} cannot be opened as a Delta table{version}: {in_brief(error)}.") from error
    if table is None:
        return [], None
    features = set(table.protocol().reader_features or []) & CANNOT
    if features:
        raise Misconfigured(f"{stored.path} uses {', '.join(sorted(features))}: write the table without.")
    if column not in table.metadata().partition_columns:
        raise Misconfigured(f"{stored.path} is not partitioned by {column}: partition the table by source.column.")
    uris = table.file_uris(file_pruning_predicate=[(column, "=", partition.key)])
    return [place(uri) for uri in sorted(uris)], table.version()
