"""Partitions of a Delta table: the files that one version of it lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltalake.exceptions import DeltaError

from jobs.errors import Misconfigured, in_brief
from jobs.storage import Place, place
from jobs.table import files_of, open_table

if TYPE_CHECKING:
    from deltalake import DeltaTable

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
    value = _value(stored, column, _type_of(table, column), partition)
    return files_of(table, where, column, value), table.version()


def _type_of(table: DeltaTable, column: str) -> str:
    [found] = [str(field.type.type) for field in table.schema().fields if field.name == column]
    return found


def _value(stored: Stored, column: str, found: str, partition: Partition) -> str:
    """The partition's key as the column holds it: text, a date or a number."""
    if found in {"integer", "long"}:
        return "".join(filter(str.isdecimal, partition.key))
    if found == "string" or (found == "date" and len(partition.key) == len("2026-01-16")):
        return partition.key
    raise Misconfigured(f"{stored.path} is partitioned by {column}, a {found}: partition it by the key, as text.")
