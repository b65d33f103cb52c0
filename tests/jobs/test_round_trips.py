"""Files of a fragment: what goes in comes out, in few bytes, and every usual reader understands it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.fragment_file import FragmentFile
from jobs.table import predictions_of

ROWS = 5_000
RANDOM = np.random.default_rng(3)
KEYS: dict[str, pa.Array] = {
    "counting up": pa.array(np.arange(ROWS)),
    "any numbers": pa.array(RANDOM.integers(-(2**63), 2**63 - 1, ROWS)),
    "instants": pa.array([datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=n) for n in range(ROWS)]),
    "texts": pa.array([f"flight {n % 97} ø" for n in range(ROWS)]),
    "decimals": pa.array([Decimal(n) / 100 for n in range(ROWS)], pa.decimal128(12, 2)),
    "doubles": pa.array(RANDOM.normal(size=ROWS)),
    "truth values": pa.array(RANDOM.random(ROWS) < 0.5),
}


def written(folder: Path, table: pa.Table) -> Path:
    with FragmentFile(str(folder), "some.parquet") as file:
        file.write(table.slice(0, 3_000))
        file.write(table.slice(3_000))
    assert file.written() is not None
    return folder / "some.parquet"


@pytest.mark.parametrize("kind", KEYS)
def test_what_goes_in_comes_out_to_the_last_bit(kind: str, tmp_path: Path) -> None:
    scores = RANDOM.random(ROWS)
    scores[:3] = [np.nan, np.inf, -0.0]
    table = predictions_of(pa.table({"id": KEYS[kind]}), scores, 7)
    back = pq.read_table(written(tmp_path, table))
    assert back.schema.types == table.schema.types
    assert back["id"].equals(table["id"])
    assert np.array_equal(back["score"].to_numpy().view(np.int64), scores.view(np.int64))
    assert set(back["model_version"].to_pylist()) == {7}


def test_nulls_among_the_keys_of_rejected_rows_come_back(tmp_path: Path) -> None:
    keys = pa.array([None if n % 3 == 0 else n for n in range(ROWS)], pa.int64())
    table = pa.table({"id": keys, "reason": ["null_key"] * ROWS})
    assert pq.read_table(written(tmp_path, table)).equals(table)


@pytest.mark.parametrize("kind", ["counting up", "instants"])
def test_keys_that_count_up_take_less_than_a_byte(kind: str, tmp_path: Path) -> None:
    path = written(tmp_path, predictions_of(pa.table({"id": KEYS[kind]}), RANDOM.random(ROWS), 7))
    assert path.stat().st_size < ROWS * (8 + 1)
