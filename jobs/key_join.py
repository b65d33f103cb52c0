"""Which row of one table has the key of a row of another one: by 128 bits of hash of each key.

Keys are compared as what they are. In pandas whole numbers beside a null are floats, which round, and two texts are one
when they differ after a NUL only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.content_digest import canonical
from jobs.frames import EXACT
from jobs.key_hashes import with_one_zero
from jobs.row_digest import row_hashes

if TYPE_CHECKING:
    from collections.abc import Sequence

HASH = ["first", "second"]


def places_among(keys: pa.Table, others: pa.Table) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The row of `others` that has the same key, for each row of `keys`, shape (rows,); -1 for none, or for a null.

    The columns of both are in the same order, and `others` has no key twice. Raises ArrowInvalid when they are of types
    that cannot be compared.
    """
    pairs = [_alike(*pair) for pair in zip(keys.columns, others.columns, strict=True)]
    mine, theirs = (_hashed([pair[side] for pair in pairs]) for side in (0, 1))
    found = mine.join(theirs.rename_columns([*HASH, "place"]), keys=HASH, join_type="left outer")
    places = np.full(keys.num_rows, -1, np.int64)
    places[found["row"].to_numpy()] = found["place"].fill_null(-1).to_numpy()
    return places


def any_twice(keys: pa.Table) -> bool:
    """Whether two rows have the same key, of those without a null."""
    hashed = _hashed([canonical(column) for column in keys.columns])
    return len(hashed.group_by(HASH).aggregate([])) < len(hashed)


def without_nulls(table: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows that have a value in each column of the key."""
    return table.filter(_given([table[name] for name in key])) if len(table) else table


def _hashed(columns: Sequence[pa.ChunkedArray]) -> pa.Table:
    """Hash and number of each row that has no null in its key."""
    there = _given(columns)
    keys = pa.table(list(columns), names=[str(n) for n in range(len(columns))]).filter(there)
    first, second = row_hashes(with_one_zero(keys))
    return pa.table({"first": first, "second": second, "row": np.flatnonzero(np.asarray(there))})


def _given(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    there = columns[0].is_valid()
    for column in columns[1:]:
        there = pc.and_(there, column.is_valid())
    return there


def _alike(one: pa.ChunkedArray, other: pa.ChunkedArray) -> tuple[pa.ChunkedArray, pa.ChunkedArray]:
    """Both columns in one type. Raises ArrowInvalid when there is none in which both stay what they are."""
    one, other = canonical(one), canonical(other)
    if one.null_count == len(one) or other.null_count == len(other):
        return one, other  # there is nothing to be compared
    if pa.types.is_float64(one.type) and pa.types.is_int64(other.type):
        one = _whole(one)
    if pa.types.is_int64(one.type) and pa.types.is_float64(other.type):
        other = _whole(other)
    if one.type != other.type:
        raise pa.ArrowInvalid(f"{one.type} is not {other.type}")
    return one, other


def _whole(numbers: pa.ChunkedArray) -> pa.ChunkedArray:
    """Floats, as pandas has whole numbers beside a null, as what they are."""
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    largest = pc.max(pc.abs(numbers)).as_py()
    if largest is not None and largest > EXACT:
        raise pa.ArrowInvalid("floats of this size are no whole numbers")
    return numbers.cast(pa.int64())
