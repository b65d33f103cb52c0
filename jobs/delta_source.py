"""Partitions of a Delta table: the files that one version of it lists."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jobs.errors import Misconfigured, in_brief
from jobs.storage import Place, below, place
from jobs.table import files_of, open_table
from jobs.table_state import unsupported

if TYPE_CHECKING:
    from collections.abc import Collection

    from deltalake import DeltaTable

    from jobs.partition import Partition
    from jobs.spec_storage import Stored

CANNOT = {"deletionVectors", "columnMapping"}
"""Features of a table whose files alone are not its rows."""
ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:/")
"""An address as it looks below a folder."""


def delta_files(
    data: Place, stored: Stored, column: str, partition: Partition, needed: Collection[str] = ()
) -> tuple[list[Place], int | None]:
    """The files of a partition in the pinned version, or in the newest one, and which version that is.

    `needed` are columns that are read from them. Nothing and None when there is no table yet. Raises Misconfigured when
    it cannot be read like this, Unavailable.
    """
    where = place(stored.path, data)
    try:
        table = open_table(where, stored.version)
    except OSError as error:
        version = "" if stored.version is None else f" in version {stored.version}"
        raise Misconfigured(f"{stored.path} cannot be opened as a Delta table{version}: {in_brief(error)}.") from error
    if table is None:
        return [], None
    if features := sorted(CANNOT.intersection(unsupported(table))):
        raise Misconfigured(f"{stored.path} uses {', '.join(features)}: write the table without.")
    by = table.metadata().partition_columns
    if column not in by:
        raise Misconfigured(f"{stored.path} is not partitioned by {column}: partition the table by source.column.")
    if inside := sorted(set(needed) & set(by) - {column}):
        raise Misconfigured(
            f"{stored.path} is partitioned by {inside[0]}, too, so its files have no such column: partition the table "
            f"by source.column, {column}, alone."
        )
    files = files_of(table, where, column, _value(stored, column, _type_of(table, column), partition))
    if any(ELSEWHERE.match(below(file, where)) for file in files):
        raise Misconfigured(f"{stored.path} names files in other folders, as a shallow clone does: write them anew.")
    return files, table.version()


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
