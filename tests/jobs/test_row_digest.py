"""The digest of rows: the same for the same rows in any order, cut and type of the same sort, and for no others."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.row_digest import RowDigest, row_hashes
from jobs.siphash import SipHash

SCHEMA = pa.schema([("a", pa.string()), ("b", pa.string()), ("n", pa.int64()), ("x", pa.float64())])
TEXT = st.none() | st.text("ab\0é", max_size=18)
ROW = st.tuples(TEXT, TEXT, st.none() | st.integers(-2, 2), st.none() | st.sampled_from([0.0, -0.0, 0.5, float("nan")]))


def digest(*tables: pa.Table) -> str:
    made = RowDigest()
    for table in tables:
        made.add(table)
    return made.hexdigest()


def table(rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * 4
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


@pytest.mark.parametrize(
    ("message", "expected"),
    [(b"", "a3817f04ba25a8e66df67214c7550293"), (bytes(range(15)), "5493e99933b0a8117e08ec0f97cfc3d9")],
)
def test_the_hash_is_siphash_with_128_bits(message: bytes, expected: str) -> None:
    """The vectors of the reference implementation: key 00 01 .. 0f, message 00 01 .., the length in the last byte."""
    half = [int.from_bytes(bytes(range(n, n + 8)), "little") for n in (0, 8)]
    hashed = SipHash(1, (half[0], half[1]))
    padded = message + bytes(7 - len(message) % 8) + bytes([len(message)])
    for start in range(0, len(padded), 8):
        hashed.add(np.frombuffer(padded[start : start + 8], "<u8"))
    assert b"".join(lane.tobytes() for lane in hashed.lanes()).hex() == expected


@given(rows=st.lists(ROW, max_size=12), data=st.data())
def test_order_and_cut_do_not_count_and_rows_do(rows: list[Any], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    whole = digest(table(rows))
    assert digest(table(shuffled[cut:]), table(shuffled[:cut])) == whole
    if rows:
        assert digest(table(rows[1:])) != whole
        assert digest(table([*rows, rows[0]])) != whole


@given(one=ROW, other=ROW)
def test_rows_have_one_hash_when_and_only_when_they_are_equal(one: Any, other: Any) -> None:
    first, second = (tuple(int(lane[0]) for lane in row_hashes(table([row]))) for row in (one, other))
    assert (first == second) == (repr(one) == repr(other))


def test_a_null_is_no_empty_text_and_no_byte_of_a_text_moves_to_the_next() -> None:
    rows = [("", "", 0, 0.0), (None, "", 0, 0.0), ("\0", "", 0, 0.0), ("a", "b", 0, 0.0), ("ab", "", 0, 0.0)]
    assert len({digest(table([row])) for row in rows}) == len(rows)


def test_names_and_sorts_of_types_count_and_widths_do_not() -> None:
    made = [pa.table({"a": [1]}), pa.table({"b": [1]}), pa.table({"a": [1.0]}), pa.table({"a": ["1"]})]
    assert len({digest(one) for one in made}) == len(made)
    assert digest(pa.table({"a": pa.array([1], pa.int8())})) == digest(made[0])
    assert digest(pa.table({"a": pa.array(["1"]).dictionary_encode()})) == digest(made[3])


def test_the_form_of_the_digest_is_kept() -> None:
    """When this fails, no publication before it can be compared with one after it: raise FORMAT and say so."""
    rows = [("a", None, 1, 0.5), ("née, and a text of more than eight bytes", "", None, float("nan"))]
    assert digest(table(rows)) == "2d239641899ef8963129ac4e3df92069"
