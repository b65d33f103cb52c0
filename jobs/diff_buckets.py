"""Rows of a publication, put into buckets on disk by the hash of their keys: equal keys are in equal buckets."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.key_hashes import with_one_zero
from jobs.row_digest import row_hashes
from jobs.storage import open_parquet, read_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from jobs.storage import Place

ROWS_PER_BUCKET = 250_000
MOST_BUCKETS = 256
BATCH = 65_536


@dataclass(frozen=True)
class Bucketed:
    """The buckets of one side, with the number of rows and the bounds of their scores."""

    folder: Path
    buckets: int
    rows: int
    low: float
    high: float

    def table(self, bucket: int) -> pa.Table:
        """One bucket: the key's columns and `score`."""
        with pa.OSFile(str(_file(self.folder, bucket))) as file:
            return pa.ipc.open_stream(file).read_all()

    def scores(self) -> Iterator[np.ndarray[Any, np.dtype[np.float64]]]:
        """The scores, bucket by bucket."""
        for bucket in range(self.buckets):
            yield self.table(bucket)["score"].to_numpy()


def buckets_for(rows: int) -> int:
    """How many buckets hold that many rows."""
    return max(1, min(MOST_BUCKETS, -(-rows // ROWS_PER_BUCKET)))


def spread(files: Sequence[Place], key: Sequence[str], buckets: int, folder: Path) -> Bucketed:
    """Read files of predictions batch by batch, and append each row to its bucket's file in `folder`."""
    folder.mkdir(parents=True)
    schema = pa.schema([read_schema(files[0]).field(name) for name in (*key, "score")]) if files else None
    rows, low, high = 0, np.inf, -np.inf
    with ExitStack() as stack:
        writers = [
            stack.enter_context(pa.ipc.new_stream(str(_file(folder, number)), schema or _nothing(key)))
            for number in range(buckets)
        ]
        for file in files:
            for batch in open_parquet(file).iter_batches(BATCH, columns=[*key, "score"]):
                table = pa.Table.from_batches([batch]).select([*key, "score"]).cast(schema)
                bucket = _bucket(table, key, buckets)
                for number in np.unique(bucket):
                    writers[number].write_table(table.filter(pa.array(bucket == number)))
                score = table["score"].to_numpy()
                rows, low, high = rows + len(score), min(low, score.min()), max(high, score.max())
    return Bucketed(folder, buckets, rows, float(low), float(high))


def _bucket(table: pa.Table, key: Sequence[str], buckets: int) -> np.ndarray[Any, Any]:
    return row_hashes(with_one_zero(table.select(list(key))))[0] % np.uint64(buckets)


def _nothing(key: Sequence[str]) -> pa.Schema:
    return pa.schema([*(pa.field(name, pa.null()) for name in key), pa.field("score", pa.float64())])


def _file(folder: Path, bucket: int) -> Path:
    return folder / f"{bucket:03d}.arrow"
