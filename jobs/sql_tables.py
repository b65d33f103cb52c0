"""The three tables of a SQL sink: the rows, their staging table, and the publications beside them."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import sqlalchemy as sa

from jobs.errors import Misconfigured
from jobs.spec_storage import STAGED
from jobs.table import PARTITION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ATTEMPT, NUMBER = STAGED
_NAMED = ("model", "partition", "digest", "input_digest", "code", "engine", "run")
_COUNTED = ("version", "rows_in", "rows_scored", "rows_rejected", "table_version")


@dataclass(frozen=True)
class SinkTables:
    """`<table>` (what readers see), `<table>_staging` and `<table>_publications` (the lineage, a row a publication)."""

    rows: sa.Table
    staging: sa.Table
    publications: sa.Table

    @property
    def lineage(self) -> tuple[str, ...]:
        """What of a publication is noted as it is."""
        return _NAMED + _COUNTED

    @classmethod
    def of(cls, name: str, schema: pa.Schema, key: Sequence[str]) -> SinkTables:
        """The tables for predictions with these columns."""
        known = sa.MetaData()
        types = {field.name: sql_type(field.type) for field in schema}
        return cls(
            sa.Table(name, known, *[sa.Column(n, t, primary_key=n in {PARTITION, *key}) for n, t in types.items()]),
            sa.Table(
                f"{name}_staging",
                known,
                *[sa.Column(n, t) for n, t in types.items()],
                sa.Column(ATTEMPT, sa.String(32), index=True, nullable=False),
                sa.Column(NUMBER, sa.BigInteger(), nullable=False),
            ),
            sa.Table(
                f"{name}_publications",
                known,
                sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
                sa.Column("table_id", sa.Text(), nullable=False),
                *[sa.Column(n, sa.Text(), nullable=False, primary_key=n == PARTITION) for n in _NAMED],
                *[sa.Column(n, sa.BigInteger(), nullable=False) for n in _COUNTED],
                sa.Column("published_at", sa.DateTime(timezone=True)),
                sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
            ),
        )

    def ensure(self, connection: sa.Connection, variable: str) -> None:
        """Make the tables that are not there. Raises Misconfigured when one is there with other columns."""
        lock(connection, self.rows.name)
        for table in (self.rows, self.staging, self.publications):
            if not sa.inspect(connection).has_table(table.name):
                table.create(connection)
                continue
            there = {column["name"] for column in sa.inspect(connection).get_columns(table.name)}
            missing = [column.name for column in table.columns if column.name not in there]
            if missing:
                raise Misconfigured(
                    f"The table {table.name} in the database of {variable} has no column {missing[0]}: choose another "
                    f"output.table, or drop it and let `lamplighter backfill run` copy what was published."
                )


def sql_type(found: pa.DataType) -> sa.types.TypeEngine[Any]:
    """The column's type for a type that predictions can have. Raises Misconfigured for another one."""
    if pa.types.is_decimal(found):  # SQLite has no exact numbers
        return sa.Numeric(found.precision, found.scale).with_variant(sa.Text(), "sqlite")
    if pa.types.is_timestamp(found):
        return sa.DateTime(timezone=found.tz is not None)
    simple: dict[pa.DataType, sa.types.TypeEngine[Any]] = {
        pa.int64(): sa.BigInteger(),
        pa.int32(): sa.Integer(),
        pa.float64(): sa.Double(),
        pa.bool_(): sa.Boolean(),
        pa.date32(): sa.Date(),
        pa.string(): sa.Text(),
        pa.large_string(): sa.Text(),
        pa.string_view(): sa.Text(),
        pa.binary(): sa.LargeBinary(),
        pa.large_binary(): sa.LargeBinary(),
        pa.binary_view(): sa.LargeBinary(),
    }
    if found not in simple:
        raise Misconfigured(f"A database has no column for {found}: take another key, or output.kind: delta.")
    return simple[found]


def add_rows(connection: sa.Connection, table: sa.Table, batch: pa.Table, same: Mapping[str, Any]) -> None:
    """Add the rows of a batch, each with these further values. In PostgreSQL by COPY, which is many times as fast.

    Raises Misconfigured, naming the column, for a date or an instant that Python has no value for.
    """
    names = [*batch.column_names, *same]
    exact = pa.types.is_decimal if connection.dialect.name == "sqlite" else lambda _: False
    texts = [column.cast(pa.string()) if exact(column.type) else column for column in batch.columns]
    columns = [_values(column, table, name) for name, column in zip(names, texts, strict=False)]
    rows = zip(*columns, *(repeat(value, len(batch)) for value in same.values()), strict=True)
    if connection.dialect.driver != "psycopg":
        connection.execute(sa.insert(table), [dict(zip(names, row, strict=True)) for row in rows])
        return
    from psycopg.sql import SQL, Identifier  # SQLAlchemy's own quoting doubles a %, which COPY takes as it is

    into = SQL("COPY {} ({}) FROM STDIN").format(Identifier(table.name), SQL(", ").join(map(Identifier, names)))
    driver: Any = connection.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(row)


def _values(column: pa.ChunkedArray, table: sa.Table, name: str) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):
        raise Misconfigured(
            f"The table {table.name} cannot take the column {name}: it has a value before the year 1 or after 9999. "
            f"Deliver the partition without, or take another key."
        ) from None
    return values


def lock(connection: sa.Connection, what: str) -> None:
    """Let nobody else be in a transaction about the same until this one is over. SQLite has one writer anyway.

    Raises Misconfigured for another kind of database: nobody has tried how it locks.
    """
    if connection.dialect.name not in {"postgresql", "sqlite"}:
        raise Misconfigured(f"Predictions cannot be published in {connection.dialect.name}: take PostgreSQL or SQLite.")
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(sha256(what.encode()).digest()[:8], signed=True)
        connection.execute(sa.text("SET LOCAL lock_timeout = '30s'"))
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))
