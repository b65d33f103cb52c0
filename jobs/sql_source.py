"""Partitions of a SQL table or query, as Parquet files that are named by their content.

One statement reads a partition in the order of its keys, on one snapshot of the database, and each file is a range of
keys. From then on these files are the partition: gate, engines and training read them, wherever workers are, and what
changes in the database meanwhile has another digest. They lie below the tables, as workers must see those anyway.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from jobs.database import transaction
from jobs.errors import Misconfigured
from jobs.partition import Every
from jobs.sql_types import arrow_type, rows_of, to_arrow
from jobs.steps import step
from jobs.storage import Place, keep_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.partition import Partition
    from jobs.spec import ModelSpec
    from jobs.spec_storage import Stored

EXTRACTS = "_extracts"
KEPT = 2 * 86_400  # seconds
CHUNK = 10_000


@dataclass(frozen=True)
class _Asked:
    """The rows of a partition in the order of their keys, as one statement, and the types that they will have."""

    statement: sa.Select[Any]
    schema: pa.Schema


def extract(tables: Place, spec: ModelSpec, stored: Stored, partition: Partition) -> list[Place]:
    """The files of a partition, each a range of at most `rows_per_fragment` keys; none when it has no rows.

    Raises Misconfigured, Unavailable, and Rejected for a value that is not of its column's type.
    """
    folder = _folder(tables, stored) / partition.key
    found: list[Place] = []
    with transaction(str(stored.database)) as connection:
        for number, rows in enumerate(_ranges(connection, spec, stored, partition)):
            content = BytesIO()
            pq.write_table(rows, content, compression="zstd", write_page_checksum=True)
            name = f"{spec.source.column}={partition.key}/range-{number:05d}.parquet"
            found.append(folder / sha256(content.getbuffer()).hexdigest()[:32] / name)
            keep_bytes(found[-1], content.getvalue())  # also when it is there: what is in use is young
            step("plan:range")
    forget(folder)
    return found


def has_rows(spec: ModelSpec, stored: Stored, partition: Partition) -> bool:
    """Whether the partition has rows. Raises Misconfigured and Unavailable."""
    with transaction(str(stored.database)) as connection:
        asked = _ask(connection, spec, stored, partition)
        return connection.execute(asked.statement.order_by(None).limit(1)).first() is not None


def forget(folder: Place, before: float | None = None) -> None:
    """Remove the extracts of a partition that nobody can be at work with any more."""
    before = time.time() - KEPT if before is None else before
    for path in folder.glob("*/*/*.parquet"):
        try:
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)
        except FileNotFoundError:  # another one forgets, too
            continue


def forget_all(tables: Place, spec: ModelSpec, before: float | None = None) -> None:
    """The same for all partitions of a model's source and label."""
    for stored in (spec.source, spec.label):
        if stored.kind == "sql":
            for folder in _folder(tables, stored).glob("*"):
                forget(folder, before)


def _folder(tables: Place, stored: Stored) -> Place:
    name = sha256(f"{stored.database}\0{stored.path}\0{stored.query}".encode()).hexdigest()[:16]
    return tables / EXTRACTS / name


def _ask(connection: sa.Connection, spec: ModelSpec, stored: Stored, partition: Partition) -> _Asked:
    rows = rows_of(connection, stored.path, stored.query)
    missing = [name for name in (spec.source.column, *spec.key) if name not in rows.c]
    if missing:
        raise Misconfigured(f"{stored.path} has no column {missing[0]}: change the table, the query or the spec.")
    types = {column.name: arrow_type(column.type) for column in rows.c}
    known = {name: found for name, found in types.items() if found is not None}
    order = [rows.c[name] for name in dict.fromkeys([*spec.key, *sorted(known)])]
    statement = sa.select(*[rows.c[name] for name in known]).where(_within(rows, spec, partition)).order_by(*order)
    return _Asked(statement, pa.schema(list(known.items())))


def _within(rows: sa.FromClause, spec: ModelSpec, partition: Partition) -> sa.ColumnElement[bool]:
    """The rows of a partition: its key as text, date or number, or an instant within it."""
    column = rows.c[spec.source.column]
    if isinstance(column.type, sa.DateTime):
        start, end = partition.start, partition.end
        if not column.type.timezone:
            zone = ZoneInfo(spec.source.timezone)
            start, end = (at.astimezone(zone).replace(tzinfo=None) for at in (start, end))
        return (column >= start) & (column < end)
    if isinstance(column.type, sa.Date):
        if spec.source.every is not Every.day:
            raise Misconfigured(f"source.column {column.name} is a date, and partitions are hours: take an instant.")
        return column == date.fromisoformat(partition.key)
    if isinstance(column.type, sa.Integer):
        return column == int("".join(filter(str.isdecimal, partition.key)))
    return column == partition.key


def _ranges(connection: sa.Connection, spec: ModelSpec, stored: Stored, partition: Partition) -> Iterator[pa.Table]:
    """The rows in tables of `rows_per_fragment` rows, the last one shorter; a table at a time is in memory."""
    asked = _ask(connection, spec, stored, partition)
    size, where = spec.engine.rows_per_fragment, f"{stored.path} {partition}"
    options = {"yield_per": min(size, CHUNK)}  # which has the server keep the rest
    held: list[pa.Table] = []
    for rows in connection.execute(asked.statement, execution_options=options).partitions():
        held.append(to_arrow([tuple(row) for row in rows], asked.schema, where))
        while sum(map(len, held)) >= size:
            together = pa.concat_tables(held)
            yield together.slice(0, size).combine_chunks()
            held = [together.slice(size)]
    if any(map(len, held)):
        yield pa.concat_tables(held).combine_chunks()
