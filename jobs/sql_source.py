"""Partitions of a SQL table or query, as Parquet files that are named by their content.

One statement reads a partition in the order of its keys, on one snapshot of the database, and each file is a range of
keys. From then on these files are the partition: gate, engines and training read them, wherever workers are, and what
changes in the database meanwhile has another digest. They lie below the tables, as workers must see those anyway.
"""

from __future__ import annotations

import time
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa
from sqlalchemy.exc import DataError

from jobs.database import transaction
from jobs.errors import Misconfigured, Rejected
from jobs.expect import columns_of
from jobs.partition import Every
from jobs.row_digest import RowDigest
from jobs.spec import Label
from jobs.sql_types import arrow_type, rows_of
from jobs.sql_values import to_arrow
from jobs.steps import step
from jobs.storage import Place, keep_bytes, remove_tree

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from jobs.partition import Partition
    from jobs.spec import ModelSpec
    from jobs.spec_storage import Stored

EXTRACTS = "_extracts"
USED = "used"
"""A file beside each extract, written whenever somebody asks for its rows: the extract itself stays as it is."""
KEPT = 2 * 86_400  # seconds
CHUNK = 10_000


@dataclass(frozen=True)
class _Asked:
    """The rows of a partition in the order of their keys, as one statement, and the types that they will have."""

    statement: sa.Select[Any]
    schema: pa.Schema


def extract(tables: Place, spec: ModelSpec, stored: Stored, partition: Partition) -> tuple[list[Place], str]:
    """The files of a partition, each a range of at most `rows_per_fragment` keys; none when it has no rows.

    And a digest of its keys and features: the same for the same rows, however they are cut, whatever else the spec asks
    for, and whichever release writes the files.

    Raises Misconfigured, Unavailable, and Rejected for a value that is not of its column's type.
    """
    folder = _folder(tables, stored) / partition.key
    found: list[Place] = []
    total, names = RowDigest(), dict.fromkeys([*spec.key, *spec.features])
    with transaction(str(stored.database)) as connection:
        _only_instants(connection, spec, stored)
        for number, rows in enumerate(_ranges(connection, spec, stored, partition)):
            total.add(rows.select([name for name in names if name in rows.column_names]))
            content = BytesIO()
            pq.write_table(rows, content, compression="zstd", write_page_checksum=True)
            name = f"{spec.source.column}={partition.key}/range-{number:05d}.parquet"
            mine = folder / sha256(content.getbuffer()).hexdigest()[:32]
            keep_bytes(mine / USED, b"")
            found.append(mine / name)
            if not _holds(found[-1], content.getvalue()):  # a run that has planned it would find it written anew
                keep_bytes(found[-1], content.getvalue())
            step("plan:range")
    forget(folder)
    return found, total.hexdigest()


def _holds(path: Place, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except FileNotFoundError:
        return False


def has_rows(spec: ModelSpec, stored: Stored, partition: Partition) -> bool:
    """Whether the partition has rows. Raises Misconfigured and Unavailable."""
    with transaction(str(stored.database)) as connection:
        statement = _ask(connection, spec, stored, partition).statement
        any_row = statement.with_only_columns(sa.literal(1), maintain_column_froms=True).order_by(None).limit(1)
        return connection.execute(any_row).first() is not None


def forget(folder: Place, before: float | None = None) -> None:
    """Remove the extracts of a partition that nobody can be at work with any more."""
    before = time.time() - KEPT if before is None else before
    for extracted in folder.glob("*"):
        if _last_used(extracted) < before:
            remove_tree(extracted)


def _last_used(extracted: Place) -> float:
    """When somebody has written below, the marker above all; now, when others forget it just now, too."""
    times = []
    for path in (*extracted.glob("*"), *extracted.glob("*/*")):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times, default=time.time())


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
    columns = [rows.c[name] for name in _wanted(spec, stored) if name in rows.c]  # what lacks is told by who reads it
    known = {column.name: found for column in columns if (found := arrow_type(column.type)) is not None}
    unread = [column.name for column in columns if column.name not in {*known, spec.source.column}]
    if unread:
        raise Misconfigured(
            f"{stored.path} has the column {unread[0]} in a type that is not read: cast it in a view or a query, or "
            f"change the spec."
        )
    within = _within(rows.c[spec.source.column], spec, partition, texts=connection.dialect.name == "sqlite")
    order = [rows.c[name] for name in dict.fromkeys([*spec.key, *sorted(known)])]
    asked = [_as_it_is(connection, rows.c[name]) for name in known]
    return _Asked(sa.select(*asked).where(within).order_by(*order), pa.schema(list(known.items())))


def _wanted(spec: ModelSpec, stored: Stored) -> list[str]:
    """The columns that some job reads: what is wrong with another one is no reason to stop."""
    if isinstance(stored, Label):
        names = [*spec.key, *stored.columns, *([stored.known_at] if stored.known_at else [])]
    else:
        checked = [name for check in spec.input_checks for name in columns_of(check)]
        slices = [gate.by for gate in spec.metric_gates if gate.by is not None]
        names = [*spec.key, *spec.features, *checked, *slices]
    return list(dict.fromkeys([spec.source.column, *names]))


def _as_it_is(connection: sa.Connection, column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The column's own values: of what is not of its type in SQLite, SQLAlchemy would make something that is."""
    return sa.type_coerce(column, sa.types.NullType()) if connection.dialect.name == "sqlite" else column


def _within(
    column: sa.ColumnElement[Any], spec: ModelSpec, partition: Partition, *, texts: bool
) -> sa.ColumnElement[bool]:
    """The rows of a partition: its key as text, date or number, or an instant within it.

    `texts` says that the database has texts for dates and instants.
    """
    if isinstance(column.type, sa.DateTime):
        start, end = partition.start, partition.end
        if not column.type.timezone:
            zone = ZoneInfo(spec.source.timezone)
            start, end = (at.astimezone(zone).replace(tzinfo=None) for at in (start, end))
        return _within_texts(column, start, end) if texts else (column >= start) & (column < end)
    if isinstance(column.type, sa.Date):
        if spec.source.every is not Every.day:
            raise Misconfigured(
                f"source.column {spec.source.column} is a date, and partitions are hours: take an instant."
            )
        day = datetime.fromisoformat(partition.key)
        return _within_texts(column, day, day + timedelta(days=1)) if texts else column == day.date()
    if isinstance(column.type, sa.Integer):
        return column == int("".join(filter(str.isdecimal, partition.key)))
    if not isinstance(column.type, sa.String | sa.types.NullType):
        raise Misconfigured(
            f"source.column {spec.source.column} is of the type {column.type}: take a date, an instant, a whole number "
            f"or the partition's key as text."
        )
    return column == partition.key


def _only_instants(connection: sa.Connection, spec: ModelSpec, stored: Stored) -> None:
    """Raise Rejected for what SQLite has in a column of instants or days and is none: such a row is in no partition."""
    if connection.dialect.name != "sqlite":
        return
    column = rows_of(connection, stored.path, stored.query).c.get(spec.source.column)
    if column is None or not isinstance(column.type, sa.DateTime | sa.Date):
        return
    text = sa.type_coerce(column, sa.Text())
    dated = text.like("____-__-__%") & sa.func.julianday(text).is_not(None)  # which takes 10:30 and now, too
    odd = text.is_not(None) & ((sa.func.typeof(text) != "text") | ~dated)
    if connection.execute(sa.select(sa.literal(1)).where(odd).limit(1)).first() is not None:
        raise Rejected(
            f"{stored.path}: the column {spec.source.column} has a value that is no instant as text, such as "
            f"2026-01-16 10:00:00, so that no partition has its row: deliver it so."
        )


def _within_texts(column: sa.ColumnElement[Any], start: datetime, end: datetime) -> sa.ColumnElement[bool]:
    """The same where instants are texts: with or without a time, seconds or a fraction, after a space or a T.

    Whole days come first, in a form that an index on the column can help with.
    """
    text = sa.type_coerce(column, sa.Text())
    days = (text >= start.date().isoformat()) & (text < (end.date() + timedelta(days=1)).isoformat())
    spaced = sa.func.replace(text, "T", " ")
    return days & (spaced >= _shortest(start)) & (spaced < _shortest(end))


def _shortest(at: datetime) -> str:
    """An instant in as few characters as can be: any other way to write it, or a later one, is a text that follows."""
    text = at.isoformat(" ")
    for zeros in (":00", ":00", " 00"):
        text = text.removesuffix(zeros)
    return text


def _ranges(connection: sa.Connection, spec: ModelSpec, stored: Stored, partition: Partition) -> Iterator[pa.Table]:
    """The rows in tables of `rows_per_fragment` rows, the last one shorter; a table at a time is in memory."""
    asked = _ask(connection, spec, stored, partition)
    size, where = spec.engine.rows_per_fragment, f"{stored.path} {partition}"
    held: list[pa.Table] = []
    with closing(_fetched(connection, asked, min(size, CHUNK), where)) as fetched:
        for rows in fetched:
            held.append(to_arrow(rows, asked.schema, where, spec.key))
            while sum(map(len, held)) >= size:
                together = pa.concat_tables(held)
                yield together.slice(0, size).combine_chunks()
                held = [together.slice(size)]
    if any(map(len, held)):
        yield pa.concat_tables(held).combine_chunks()


def _fetched(
    connection: sa.Connection, asked: _Asked, size: int, where: str
) -> Generator[list[tuple[Any, ...]], None, None]:
    try:
        with connection.execute(asked.statement, execution_options={"yield_per": size}) as found:  # the server has more
            for rows in found.partitions():
                yield [tuple(row) for row in rows]
    except DataError as error:
        beyond = None if getattr(error.orig, "sqlstate", None) else _beyond_the_calendar(connection, asked)
        if beyond is None:
            raise
        raise Rejected(
            f"{where}: the column {beyond} has a value before the year 1 or after 9999, or infinity: deliver it with "
            f"others."
        ) from None


def _beyond_the_calendar(connection: sa.Connection, asked: _Asked) -> str | None:
    """The first column with a date or an instant that Python has no value for: the driver does not say which it was."""
    for column in asked.statement.selected_columns:
        if isinstance(column.type, sa.Date | sa.DateTime):
            last = date.max if isinstance(column.type, sa.Date) else datetime.max  # noqa: DTZ901 - a bound, in any zone
            outside = asked.statement.where((column < date.min) | (column > last)).order_by(None).limit(1)
            if connection.execute(outside.with_only_columns(sa.literal(1))).first() is not None:
                return str(column.key)
    return None
