"""Values that a database gives, as Arrow arrays of their columns' types.

SQLite keeps whatever it is given, whatever its column is declared as, and Arrow makes 2 of 2.5 without a word: so the
type of every value is looked at here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pyarrow as pa

from jobs.errors import Rejected

_Make = Callable[[Any], Any] | None
_ON = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_AT = re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?", re.ASCII)


def to_arrow(rows: list[tuple[Any, ...]], schema: pa.Schema, where: str, key: Collection[str] = ()) -> pa.Table:
    """Rows of a database as a table. Raises Rejected, naming the column, for a value that is not of its type.

    A decimal without a precision is a double, which some columns of a `key` do not survive: these are refused, too.
    """
    columns = []
    for number, field in enumerate(schema):
        values = [row[number] for row in rows]
        if field.name in key and pa.types.is_floating(field.type) and not all(map(_survives, values)):
            raise Rejected(
                f"{where}: the column {field.name} of the key has a number with more digits than a double can hold, "
                f"and its type has no precision of up to 38: cast it to a whole number, to NUMERIC(38, 0) or to text."
            )
        try:
            columns.append(pa.array(_of_type(values, field.type), field.type))
        except (pa.ArrowException, TypeError, ValueError, ArithmeticError):
            raise Rejected(
                f"{where}: the column {field.name} has a value that is no {field.type}: deliver it with one type."
            ) from None
    return pa.table(columns, schema=schema)


def _of_type(values: list[Any], kind: pa.DataType) -> list[Any]:
    """The values as Arrow takes them. Raises TypeError, ValueError or ArithmeticError for one that is not meant so."""
    takes = _takes(kind)
    found = set(map(type, values)) - {type(None)}
    if not found <= takes.keys():
        raise TypeError
    if all(takes[one] is None for one in found):
        return values
    return [value if (make := takes.get(type(value))) is None else make(value) for value in values]


def _survives(value: Any) -> bool:
    """Whether a number comes back from a double: as it is, or in the fewest digits that mean this double."""
    if not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        return True
    double = float(value)
    return double == value or (math.isfinite(double) and Decimal(repr(double)) == value)


def _takes(kind: pa.DataType) -> dict[type, _Make]:
    """The types of Python's that a column takes, and what is made of a value of one; nothing where it says None."""
    if pa.types.is_decimal(kind):
        return {Decimal: _or_null, int: Decimal, float: partial(_decimal, scale=kind.scale)}
    if pa.types.is_timestamp(kind):
        return {datetime: None, str: _instant} if kind.tz is None else {datetime: None}
    known: dict[pa.DataType, dict[type, _Make]] = {
        pa.int64(): {int: None},
        pa.float64(): {float: None, int: float, Decimal: float},
        pa.bool_(): {bool: None, int: _flag},
        pa.string(): {str: None, UUID: str},
        pa.date32(): {date: None, str: _date},
        pa.binary(): {bytes: None},
    }
    return known.get(kind, {})


def _or_null(value: Decimal) -> Decimal | None:
    """PostgreSQL has a NaN among decimals, and Arrow has none."""
    return None if value.is_nan() else value


def _decimal(value: float, scale: int) -> Decimal:
    """SQLite has floats for decimals: the one that was meant, unless more digits were."""
    nearest = Decimal(f"{value:.{scale}f}")
    if not math.isclose(nearest, value, rel_tol=1e-15, abs_tol=10.0 ** -(scale + 3)):
        raise ValueError
    return nearest


def _flag(value: int) -> bool:
    if value not in {0, 1}:
        raise ValueError
    return bool(value)


def _date(text: str) -> date:
    if not _ON.fullmatch(text):
        raise ValueError
    return date.fromisoformat(text)


def _instant(text: str) -> datetime:
    """SQLite has texts for instants. One with a zone is refused: its column says that there is none."""
    if not _AT.fullmatch(text):
        raise ValueError
    return datetime.fromisoformat(text)
