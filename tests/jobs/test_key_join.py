"""Keys are joined as what they are, whole numbers that floats cannot hold and texts with a NUL, too."""

from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.key_join import any_twice, places_among, without_nulls

NUMBERS = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([2**53, 2**53 + 1, 2**63 - 1]))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "a\0", "a\0x", "a\0y", "aa", "née"]))
DAWN = np.datetime64("2026-01-01", "us")
KEYS = st.lists(st.tuples(NUMBERS, TEXTS), max_size=12)


def table(rows: list[tuple[Any, Any]]) -> pa.Table:
    numbers, texts = [row[0] for row in rows], [row[1] for row in rows]
    return pa.table({"n": pa.array(numbers, pa.int64()), "t": pa.array(texts, pa.string())})


@given(KEYS, KEYS)
def test_a_row_finds_the_one_with_its_key(keys: list[tuple[Any, Any]], others: list[tuple[Any, Any]]) -> None:
    others = list(dict.fromkeys(others))
    where = {key: place for place, key in enumerate(others) if None not in key}
    assert places_among(table(keys), table(others)).tolist() == [where.get(key, -1) for key in keys]


@given(KEYS)
def test_a_key_that_stands_twice_is_seen_and_nulls_are_no_keys(keys: list[tuple[Any, Any]]) -> None:
    given_keys = [key for key in keys if None not in key]
    assert any_twice(table(keys)) == (len(set(given_keys)) < len(given_keys))
    assert without_nulls(table(keys), ["n", "t"]).num_rows == len(given_keys)


@pytest.mark.parametrize(
    ("one", "other", "places"),
    [
        (pa.array([1, 2], pa.int8()), pa.array([2, 1], pa.uint64()), [1, 0]),
        (pa.array([1, 2]), pa.array([2.0, None, float("nan")]), [-1, 0]),
        (pa.array([0.0, -0.0]), pa.array([-0.0]), [0, 0]),
        (pa.array(["a"]).dictionary_encode(), pa.array(["b", "a"], pa.large_string()), [1]),
        (pa.array([DAWN]).cast(pa.timestamp("us", "UTC")), pa.array([DAWN]).cast(pa.timestamp("s", "Asia/Tokyo")), [0]),
        (pa.array([date(2026, 1, 1)]), pa.array([None], pa.date32()), [-1]),
        (pa.array([Decimal("1.50")]), pa.array([Decimal("1.50")]), [0]),
        (pa.array([1, 2]), pa.array([None, None], pa.null()), [-1, -1]),
        (pa.array([1, 2]), pa.array([], pa.string()), [-1, -1]),
    ],
)
def test_types_that_hold_the_same_values_are_compared(one: pa.Array, other: pa.Array, places: list[int]) -> None:
    assert places_among(pa.table({"k": one}), pa.table({"k": other})).tolist() == places


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1]), pa.array(["1"])),
        (pa.array([2**53 + 1]), pa.array([2.0**53 + 2])),
        (pa.array([1]), pa.array([1.5])),
        (pa.array([DAWN]), pa.array([DAWN]).cast(pa.timestamp("us", "UTC"))),
        (pa.array([date(2026, 1, 1)]), pa.array([DAWN])),
    ],
)
def test_types_that_do_not_are_refused(one: pa.Array, other: pa.Array) -> None:
    for pair in ((one, other), (other, one)):
        with pytest.raises(pa.ArrowInvalid):
            places_among(*(pa.table({"k": column}) for column in pair))
