"""Bounds of a number in whatever type it is delivered: the rows within are good, the others are not."""

import math

import numpy as np
import pyarrow as pa
import pytest
from conftest import SPEC

from jobs.spec_file import parse_spec
from jobs.treat import treat

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
