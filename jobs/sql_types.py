"""Columns of a database, and the Arrow types that Parquet would have for them.

Whole numbers are int64, floats float64, NUMERIC(p, s) decimal128(p, s) and without a precision float64, dates date32,
instants timestamp[us, UTC], local times timestamp[us]; text, UUID and enumerations are string.
"""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from jobs.database import table_name
from jobs.errors import Misconfigured

_POSTGRESQL: dict[int, sa.types.TypeEngine[Any]] = {  # by the numbers of pg_type
    **dict.fromkeys((20, 21, 23), sa.BigInteger()),
    **dict.fromkeys((700, 701), sa.Double()),
    **dict.fromkeys((18, 19, 25, 1042, 1043), sa.Text()),
    16: sa.Boolean(),
    17: sa.LargeBinary(),
    1082: sa.Date(),
    1114: sa.DateTime(),
    1184: sa.DateTime(timezone=True),
    2950: sa.Uuid(),
}
_SQLITE: dict[str, sa.types.TypeEngine[Any]] = {
    "integer": sa.BigInteger(),
    "real": sa.Double(),
    "text": sa.Text(),
    "blob": sa.LargeBinary(),
}


def rows_of(connection: sa.Connection, path: str, query: str | None) -> sa.FromClause:
    """A table or a query as something to select from, its columns with their types.

    Raises Misconfigured where a database does not tell the types of a query.
    """
    if query is None:
        whole = sa.inspect(connection).has_table(path)  # a name may have a dot in it
        schema, name = (None, path) if whole else table_name(path)
        return sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection)
    text = re.sub(r"(?<![:\w\\]):(?=\w)", r"\:", query.strip().rstrip(";")) + "\n"  # a colon is no parameter here
    none = connection.execute(sa.text(f"SELECT * FROM ({text}) AS asked LIMIT 0"))  # noqa: S608 - the spec's own query
    names = list(none.keys())
    if connection.dialect.name == "postgresql":
        cursor: Any = none.cursor
        types = [_of_postgresql(connection, column) for column in cursor.description]
    elif connection.dialect.name == "sqlite":
        types = [_of_sqlite(connection, text, name) for name in names]
    else:
        raise Misconfigured(f"{connection.dialect.name} does not tell types of a query: make it a view, and name that.")
    none.close()
    columns = [sa.column(name, found) for name, found in zip(names, types, strict=True)]
    return sa.text(text).columns(*columns).subquery("asked")


def _of_postgresql(connection: sa.Connection, column: Any) -> sa.types.TypeEngine[Any]:
    if column.type_code == 1700:
        return sa.Numeric(column.precision, column.scale)
    if column.type_code in _POSTGRESQL:
        return _POSTGRESQL[column.type_code]
    enumeration = sa.text("SELECT typtype = 'e' FROM pg_type WHERE oid = :number")
    return sa.Text() if connection.scalar(enumeration, {"number": column.type_code}) else sa.types.NullType()


def _of_sqlite(connection: sa.Connection, text: str, name: str) -> sa.types.TypeEngine[Any]:
    """SQLite has types for values, not for the columns of a query."""
    column: sa.ColumnElement[Any] = sa.column(name)
    asked = sa.text(text).columns(sa.column(name)).subquery("asked")
    found = set(connection.scalars(sa.select(sa.func.typeof(column)).select_from(asked).distinct())) - {"null"}
    if found == {"integer", "real"}:
        return sa.Double()
    if not found:
        return _Nothing()
    return _SQLITE[found.pop()] if len(found) == 1 else sa.types.NullType()


class _Nothing(sa.types.NullType):
    """A column without any value."""


def arrow_type(kind: sa.types.TypeEngine[Any]) -> pa.DataType | None:
    """The type of a column's values, or None for one that is left out."""
    if isinstance(kind, sa.Numeric) and not isinstance(kind, sa.Float):
        return _decimal_type(kind.precision, kind.scale or 0)
    if isinstance(kind, sa.DateTime):
        return pa.timestamp("us", "UTC" if kind.timezone else None)
    simple: tuple[tuple[type[sa.types.TypeEngine[Any]], pa.DataType], ...] = (
        (_Nothing, pa.null()),
        (sa.Boolean, pa.bool_()),
        (sa.Integer, pa.int64()),
        (sa.Float, pa.float64()),
        (sa.String, pa.string()),
        (sa.Uuid, pa.string()),
        (sa.Date, pa.date32()),
        (sa.LargeBinary, pa.binary()),
    )
    return next((found for known, found in simple if isinstance(kind, known)), None)


def _decimal_type(precision: int | None, scale: int) -> pa.DataType:
    """Parquet has scales from 0 to the precision; PostgreSQL has those below (hundreds) and above (0.00012), too."""
    if precision is None:
        return pa.float64()
    digits = max(precision - min(scale, 0), scale)
    return pa.decimal128(digits, max(scale, 0)) if digits <= 38 else pa.float64()
