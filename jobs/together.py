"""The rows of several files as one table, in the types that all of them have together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.errors import Rejected, printable, without_values

if TYPE_CHECKING:
    from collections.abc import Sequence


def together(tables: Sequence[pa.Table], where: str, names: Sequence[str] = ()) -> pa.Table:
    """The rows of several files as one table, whichever have dictionaries, views, zones or a column without any value.

    Raises Rejected when a column has types that do not go together; `where` says where in that message, and `names`
    which of the tables is the first that does not go with those before it.
    """
    try:
        return pa.concat_tables(_alike(tables), promote_options="permissive")
    except MemoryError:
        raise
    except pa.ArrowException as error:
        said = without_values(error)
    odd = f" {printable(names[_first_odd(tables)])} is the first that differs." if names else ""
    raise Rejected(f"{where}: the files differ in the type of a column: {said}.{odd} Deliver one type.")


def _first_odd(tables: Sequence[pa.Table]) -> int:
    """The number of the first table that does not go with those before it."""
    empties = _alike([table.slice(0, 0) for table in tables])
    for count in range(2, len(empties)):
        try:
            pa.concat_tables(empties[:count], promote_options="permissive")
        except pa.ArrowException:
            return count - 1
    return len(empties) - 1


def _alike(tables: Sequence[pa.Table]) -> list[pa.Table]:
    """The tables without dictionaries and views, and in UTC where instants are in several zones."""
    decoded = [table.cast(pa.schema([f.with_type(_plain(f.type)) for f in table.schema])) for table in tables]
    zones: dict[str, set[str]] = {}
    for field in (field for table in decoded for field in table.schema if _is_zoned(field)):
        zones.setdefault(field.name, set()).add(field.type.tz)
    mixed = {name for name, found in zones.items() if len(found) > 1}
    return [_in_utc(table, mixed) for table in decoded] if mixed else decoded


def _in_utc(table: pa.Table, names: set[str]) -> pa.Table:
    utc = [
        field.with_type(pa.timestamp(field.type.unit, "UTC")) if field.name in names and _is_zoned(field) else field
        for field in table.schema
    ]
    return table.cast(pa.schema(utc))


def _is_zoned(field: pa.Field) -> bool:
    return pa.types.is_timestamp(field.type) and field.type.tz is not None


def _plain(found: pa.DataType) -> pa.DataType:
    found = found.value_type if pa.types.is_dictionary(found) else found
    return pa.string() if pa.types.is_string_view(found) else found
