"""The types that keys are published in, whichever of their kind a file of the source has."""

from __future__ import annotations

import pyarrow as pa

from jobs.errors import Rejected, without_values

_AS_THEY_ARE = {pa.string(), pa.binary(), pa.bool_(), pa.date32(), pa.float64()}
_AS = {
    pa.null(): pa.string(),
    pa.large_string(): pa.string(),
    pa.string_view(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.binary_view(): pa.binary(),
    pa.float32(): pa.float64(),
}


def publishable(keys: pa.Table, where: str, types: pa.Schema | None = None) -> pa.Table:
    """The key's columns in types that the table can hold: all files of a partition give the same ones.

    `types` are those of all files together, for a column that has no value and no type in this one. Raises Rejected,
    naming file (`where`) and column, for a type or a value that would not come back as it went in.
    """
    columns = {}
    for name in keys.column_names:
        try:
            found = keys.schema.field(name).type
            found = types.field(name).type if types is not None and pa.types.is_null(found) else found
            columns[name] = keys[name].cast(_publishable_type(found))
        except MemoryError:
            raise
        except (pa.ArrowException, KeyError) as error:
            said = without_values(error)
            raise Rejected(f"{where}: the key {name} cannot be published: {said}. Take another.") from None
    return pa.table(columns)


def _publishable_type(found: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(found):
        return _publishable_type(found.value_type)
    if pa.types.is_integer(found):
        return pa.int64()
    if pa.types.is_timestamp(found):
        return pa.timestamp("us", "UTC" if found.tz else None)
    if found in _AS:
        return _AS[found]
    if found in _AS_THEY_ARE or pa.types.is_decimal128(found):
        return found
    raise pa.ArrowInvalid(f"{found} is no type for a key")
