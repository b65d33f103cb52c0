"""A digest over the content of a table: its names, types and values, and not the files that it came from."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from hashlib import _Hash

FORMAT = 1


def canonical(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in the widest type of its sort, or as text: types that come back from a file as they went in.

    Which width a file of the source happens to have says nothing about the rows.
    """
    try:
        return column.cast(_widest(column.type))
    except MemoryError:
        raise
    except pa.ArrowException:  # a value does not fit, or there is no such text
        return _as_text(column)


def content_digest(table: pa.Table) -> str:
    """A sha256 over names, types and values of a table in the canonical form; all NaN are one."""
    columns = [[field.name, str(field.type)] for field in table.schema]
    header = {"format": FORMAT, "rows": table.num_rows, "columns": columns}
    total = sha256(json.dumps(header, sort_keys=True).encode())
    for column in table.columns:
        _update(total, column)
    return total.hexdigest()


def _widest(found: pa.DataType) -> pa.DataType:
    if pa.types.is_integer(found):
        return pa.int64()
    if pa.types.is_floating(found):
        return pa.float64()
    if pa.types.is_timestamp(found):
        return pa.timestamp("us", "UTC" if found.tz else None)
    if pa.types.is_binary(found) or pa.types.is_large_binary(found) or pa.types.is_fixed_size_binary(found):
        return pa.large_binary()
    return found if pa.types.is_boolean(found) or pa.types.is_date32(found) else pa.large_string()


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.large_string())
    except MemoryError:
        raise
    except pa.ArrowException:
        shown = [None if value is None else repr(value) for value in column.to_pylist()]
        return pa.chunked_array([pa.array(shown, pa.large_string())])


def _update(total: _Hash, column: pa.ChunkedArray) -> None:
    """Add a column: which values are there, then the values, little-endian; text as lengths and UTF-8."""
    total.update(fixed(pc.is_valid(column).cast(pa.uint8()), "u1").data)
    if pa.types.is_float64(column.type):
        values = fixed(column.fill_null(0.0), "<f8").copy()
        values[np.isnan(values)] = np.nan
        total.update(values.data)
    elif (whole := as_integers(column)) is not None:
        total.update(fixed(whole.fill_null(0), "<i8").data)
    else:
        texts = as_bytes(column)
        total.update(fixed(pc.binary_length(texts), "<i8").data)
        offsets = np.frombuffer(texts.buffers()[1], "<i8")[texts.offset : texts.offset + len(texts) + 1]
        if len(texts):
            total.update(memoryview(texts.buffers()[2] or b"")[offsets[0] : offsets[-1]])


def fixed(column: pa.ChunkedArray | pa.Array, kind: str) -> np.ndarray[Any, Any]:
    """The values of a column as an array of a numpy type, one after the other."""
    return np.ascontiguousarray(column.to_numpy(zero_copy_only=False), dtype=kind)


def as_integers(column: pa.ChunkedArray) -> pa.ChunkedArray | None:
    """Whole numbers, truth values and instants as int64; None for another type."""
    found = column.type
    if pa.types.is_temporal(found) and not pa.types.is_interval(found):
        column = column.cast(pa.int32() if found.bit_width == 32 else pa.int64())
    elif not (pa.types.is_boolean(found) or (pa.types.is_integer(found) and not pa.types.is_uint64(found))):
        return None
    return column.cast(pa.int64())


def as_bytes(column: pa.ChunkedArray) -> pa.LargeBinaryArray:
    """Everything else as one array of bytes."""
    texts = column if pa.types.is_large_binary(column.type) else _as_text(column).cast(pa.large_binary())
    combined = texts.fill_null(b"").combine_chunks()
    return pa.concat_arrays(combined.chunks) if isinstance(combined, pa.ChunkedArray) else combined
