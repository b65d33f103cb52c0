"""The digest of a table's content: equal values give equal digests, whatever the file, and nothing else does."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.content_digest import canonical, content_digest
from jobs.snapshot import keep_parts, read_part

VALUES = {
    "text": (st.text(max_size=5), pa.large_string()),
    "whole": (st.integers(-(2**63), 2**63 - 1), pa.int64()),
    "huge": (st.integers(0, 2**64 - 1), pa.uint64()),
    "real": (st.floats(), pa.float64()),
    "truth": (st.booleans(), pa.bool_()),
    "bytes": (st.binary(max_size=5), pa.binary()),
    "date": (st.dates(), pa.date32()),
    "time": (st.times(), pa.time64("us")),
    "instant": (st.datetimes(timezones=st.just(UTC)), pa.timestamp("us", "UTC")),
    "span": (st.timedeltas(timedelta(-9), timedelta(9)), pa.duration("us")),
    "money": (st.decimals(-99, 99, places=2), pa.decimal128(9, 2)),
    "list": (st.lists(st.integers(0, 3), max_size=2), pa.list_(pa.int64())),
}


def key(value: object, kind: pa.DataType) -> str:
    """What makes two values the same for us."""
    return "nan" if kind == pa.float64() and value is not None and np.isnan(value) else repr(value)


@pytest.mark.parametrize("name", VALUES)
@given(data=st.data())
def test_two_columns_have_one_digest_when_and_only_when_they_are_equal(name: str, data: st.DataObject) -> None:
    values, kind = VALUES[name]
    columns = st.lists(st.none() | values, max_size=4)
    one = data.draw(columns)
    other = data.draw(columns | st.just(one))
    digests = [content_digest(pa.table({"x": pa.chunked_array([pa.array(c, kind)])})) for c in (one, other)]
    assert (digests[0] == digests[1]) == ([key(v, kind) for v in one] == [key(v, kind) for v in other])
    cut = data.draw(st.integers(0, len(one)))
    padded = pa.array([*one, *one], kind).slice(0, len(one))  # with an offset, and in two chunks
    chunks = pa.chunked_array([padded.slice(0, cut), pa.array([*one], kind).slice(cut)], kind)
    assert content_digest(pa.table({"x": chunks})) == digests[0]


@pytest.mark.parametrize("name", VALUES)
def test_a_column_survives_its_file(name: str, tmp_path: Path) -> None:
    kind = VALUES[name][1]
    examples = {
        "text": "é", "whole": -1, "huge": 2**64 - 1, "real": float("nan"), "truth": True, "bytes": b"\xff",
        "date": date(2026, 1, 1), "time": time(1), "instant": datetime(2026, 1, 1, tzinfo=UTC), "span": timedelta(1),
        "money": Decimal("1.10"), "list": [1],
    }  # fmt: skip
    column = canonical(pa.chunked_array([pa.array([examples[name], None], kind)]))
    (part,) = keep_parts(tmp_path, "toys", {"2026-01-08": pa.table({"key:x": column})})
    assert read_part(tmp_path, "toys", part).num_rows == 2


@pytest.mark.parametrize(
    ("narrow", "wide"),
    [
        (pa.array([1, None], pa.int8()), pa.array([1, None], pa.int64())),
        (pa.array([1, None], pa.uint64()), pa.array([1, None], pa.int32())),
        (pa.array(["a", None]), pa.array(["a", None], pa.large_string())),
        (pa.array([0.5, None], pa.float32()), pa.array([0.5, None], pa.float64())),
        (pa.array([1, None], pa.timestamp("s", "UTC")), pa.array([10**9, None], pa.timestamp("ns", "Europe/Rome"))),
    ],
)
def test_the_width_of_a_keys_type_does_not_count(narrow: pa.Array, wide: pa.Array) -> None:
    one, other = (content_digest(pa.table({"k": canonical(pa.chunked_array([a]))})) for a in (narrow, wide))
    assert one == other


def test_every_nan_is_the_same_and_a_null_is_none() -> None:
    bits = [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000001]
    tables = [pa.table({"x": pa.array(np.array([number], np.uint64).view(np.float64))}) for number in bits]
    assert len({content_digest(table) for table in tables}) == 1
    assert content_digest(pa.table({"x": pa.array([None], pa.float64())})) != content_digest(tables[0])


def test_names_and_sorts_of_types_count() -> None:
    made = [
        pa.table({"a": [1, 2], "b": [3, 4]}),
        pa.table({"b": [1, 2], "a": [3, 4]}),
        pa.table({"a": [1.0, 2.0], "b": [3, 4]}),
        pa.table({"a": ["1", "2"], "b": [3, 4]}),
        pa.table({"a": [1, 2]}),
        pa.table({"a": [""]}),
        pa.table({"a": pa.array([None], pa.string())}),
        pa.table({"a": ["ab", "c"]}),
        pa.table({"a": ["a", "bc"]}),
    ]
    assert len({content_digest(one) for one in made}) == len(made)


def test_the_form_of_the_digest_is_kept() -> None:
    """When this fails, every snapshot that is kept would have to be written anew: raise FORMAT and say so."""
    column = pa.array([0.5, float("nan"), None])
    made = pa.table({"key:id": pa.array(["a", "é", None], pa.large_string()), "feature:x": column, "n": [1, 2, None]})
    assert content_digest(made) == "0e510cfd21c4d88f141f47461d0f1456ee192528d8c1e3c090bc5c1a316cc105"
