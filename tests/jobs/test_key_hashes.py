"""Keys that occur twice are never missed, in whatever order, batch and thread, and however little is held."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.key_hashes import KeyHashes, key_hashes
from jobs.threads import in_threads
from jobs.unique_keys import UniqueKeys

WHOLE = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)
KINDS = {
    "whole": (WHOLE, [pa.int64()]),
    "text": (st.text("ab\0", max_size=20), [pa.string()]),
    "both": (st.tuples(WHOLE, st.text("ab", max_size=9)), [pa.int64(), pa.string()]),
    "number": (st.sampled_from([0.0, -0.0, 1.5, 1e300]), [pa.float64()]),
}


def table(rows: list[Any], types: list[pa.DataType]) -> pa.Table:
    columns = [[row[n] if len(types) > 1 else row for row in rows] for n in range(len(types))]
    return pa.table({f"k{n}": pa.array(c, t) for n, (c, t) in enumerate(zip(columns, types, strict=True))})


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data(), held=st.integers(1, 30))
def test_twins_are_found_and_others_are_not(kind: str, data: st.DataObject, held: int) -> None:
    values, types = KINDS[kind]
    rows = data.draw(st.lists(values, max_size=60))
    hashes = KeyHashes(held)
    for start in range(0, len(rows), 7):
        hashes.add(key_hashes(table(rows[start : start + 7], types)))
    assert hashes.perhaps_twice() == (len(set(rows)) < len(rows))


def test_many_that_count_up_spread_over_all_shares() -> None:
    hashes = KeyHashes(held=1000)
    for start in range(0, 50_000, 500):
        hashes.add(key_hashes(table(list(range(start, start + 500)), [pa.int64()])))
    assert not hashes.perhaps_twice()
    assert len(hashes._runs) == 50
    hashes.add(key_hashes(table([49_999], [pa.int64()])))
    assert hashes.perhaps_twice()


def test_two_keys_of_one_hash_are_no_duplicates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.unique_keys.key_hashes", lambda keys: np.zeros(len(keys), np.uint64))
    batches = [table([1, 2], [pa.int64()]), table([3, 2], [pa.int64()])]
    keys = UniqueKeys()
    keys.add(batches[0])
    assert keys.duplicates(lambda: batches[:1]).keys == 0
    keys = UniqueKeys()
    in_threads(keys.add, batches)
    twice = keys.duplicates(lambda: batches)
    assert (twice.keys, twice.rows, twice.first) == (1, 2, ((2,),))


def test_threads_give_results_in_order_and_the_first_error() -> None:
    assert in_threads(lambda n: n * n, range(50)) == [n * n for n in range(50)]
    assert in_threads(str, []) == []

    def fail(number: int) -> int:
        if number > 3:
            raise ValueError(str(number))
        return number

    with pytest.raises(ValueError, match=r"^4$"):
        in_threads(fail, range(50))


@given(rows=st.lists(st.integers(0, 40), max_size=40), up=st.booleans(), size=st.integers(1, 9))
def test_keys_that_count_up_or_do_not_are_counted_alike(rows: list[int], up: bool, size: int) -> None:
    rows = sorted(rows) if up else rows
    batches = [table(rows[start : start + size], [pa.int64()]) for start in range(0, len(rows), size)]
    keys = UniqueKeys()
    in_threads(keys.add, [table([], [pa.int64()]), *reversed(batches)])
    found = keys.duplicates(lambda: batches)
    twice = [row for row in dict.fromkeys(rows) if rows.count(row) > 1]
    assert (found.keys, found.rows) == (len(twice), sum(map(rows.count, twice)))
    assert found.first == tuple((row,) for row in twice)[: len(found.first)]


def test_keys_that_count_up_are_not_hashed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobs.unique_keys.key_hashes", None)
    keys = UniqueKeys()
    for start in (200, 0, 100):
        keys.add(table(list(range(start, start + 100)), [pa.int64()]))
    assert keys.duplicates(list).keys == 0
