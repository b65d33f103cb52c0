"""Bounds of a number in whatever type it is delivered: the rows within are good, the others are not."""

import math

import numpy as np
import pyarrow as pa
import pytest
from conftest import SPEC
from hypothesis import given
from hypothesis import strategies as st

from jobs.spec_file import parse_spec
from jobs.treat import as_doubles, treat

TYPES = [pa.float16(), pa.float32(), pa.float64(), pa.int16(), pa.int64(), pa.uint8(), pa.decimal128(6, 1)]


def reasons(prices: list[float | None], kind: pa.DataType) -> list[str | None]:
    columns = {
        "toy_id": pa.array([str(n) for n in range(len(prices))]),
        "colour": pa.array(["red"] * len(prices)),
        "price": pa.array(np.array(prices, np.float16)) if kind == pa.float16() else pa.array(prices).cast(kind),
        "wrapped": pa.array([True] * len(prices)),
    }
    found = treat(pa.table(columns), parse_spec(SPEC.replace("at_most: 1000", "at_most: 100"), "spec"), "rows")
    return [None if code == 0 else found.reasons[code - 1] for code in found.codes]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_what_is_within_is_good_and_what_is_not_is_told(kind: pa.DataType) -> None:
    assert reasons([0.0, 7.0, 100.0], kind) == [None] * 3
    assert reasons([0.0, 101.0, 100.0], kind) == [None, "price:above_maximum", None]


@pytest.mark.parametrize("kind", TYPES[:3], ids=str)
def test_what_is_no_number_or_infinite_is_told(kind: pa.DataType) -> None:
    assert reasons([math.nan, 7.0], kind) == ["price:null", None]
    assert reasons([math.nan, math.nan], kind) == ["price:null", "price:null"]
    assert reasons([math.inf, 7.0, -math.inf, -1.0], kind) == [
        "price:infinite",
        None,
        "price:infinite",
        "price:below_minimum",
    ]


PARTS = st.lists(st.lists(st.none() | st.floats(width=64), max_size=40), max_size=3)


@given(PARTS, st.integers(0, 9), st.integers(0, 9))
def test_doubles_are_the_columns_values_with_nan_for_a_null(
    parts: list[list[float | None]], begin: int, end: int
) -> None:
    chunks = [pa.array([*[1.0] * begin, *part, *[None] * end], pa.float64()) for part in parts]
    column = pa.chunked_array([c.slice(begin, len(c) - begin - end) for c in chunks], pa.float64())
    found, expected = as_doubles(column), [math.nan if v is None else v for part in parts for v in part]
    assert found is not None
    assert np.array_equal(found, np.array(expected, np.float64), equal_nan=True)


@given(st.lists(st.none() | st.floats(), min_size=1, max_size=30))
def test_the_quick_look_finds_what_the_slow_one_does(prices: list[float | None]) -> None:
    """A dictionary of doubles is not looked at quickly."""
    spec = parse_spec(SPEC.replace("at_most: 1000", "at_most: 100"), "spec")
    rows = {"toy_id": [str(n) for n in range(len(prices))], "colour": ["red"] * len(prices)}
    wrapped, quick = [True] * len(prices), pa.array(prices, pa.float64())
    found = [
        treat(pa.table(rows | {"price": column, "wrapped": wrapped}), spec, "rows")
        for column in (quick, quick.dictionary_encode())
    ]
    assert [found[0].reasons[c - 1] for c in found[0].codes if c] == [
        found[1].reasons[c - 1] for c in found[1].codes if c
    ]
    assert np.array_equal(found[0].good, found[1].good)
