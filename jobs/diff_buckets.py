"""Rows of a publication, put into buckets on disk by the hash of their keys: equal keys are in equal buckets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.key_hashes import with_one_zero
from jobs.own_files import batches_of
from jobs.row_digest import row_hashes
from jobs.spill import Piece, Spill
from jobs.storage import read_schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobs.storage import Place

ROWS_PER_BUCKET = 250_000
MOST_BUCKETS = 256
BATCH = 65_536


@dataclass(frozen=True)
class Bucketed:
    """One side: where the rows of each bucket lie, with the number of all rows and the bounds of their scores."""

    spill: Spill
    buckets: Sequence[Sequence[Piece]]
    rows: int
    low: float
    high: float

    def table(self, bucket: int) -> pa.Table:
        """One bucket: the key's columns and `score`."""
        return self.spill.tables(self.buckets[bucket])

    def scores(self) -> Iterator[np.ndarray[Any, np.dtype[np.float64]]]:
        """The scores, bucket by bucket."""
        for bucket in range(len(self.buckets)):
            yield self.table(bucket)["score"].to_numpy()


def buckets_for(rows: int) -> int:
    """How many buckets hold that many rows."""
    return max(1, min(MOST_BUCKETS, -(-rows // ROWS_PER_BUCKET)))


def spread(files: Sequence[Place], key: Sequence[str], buckets: int) -> Bucketed:
    """Read files of predictions batch by batch, and put each row into its bucket."""
    schema = pa.schema([read_schema(files[0]).field(name) for name in (*key, "score")]) if files else _nothing(key)
    spill, rows, low, high = Spill(), 0, np.inf, -np.inf
    empty = spill.put_table(schema.empty_table())
    pieces = [[empty] for _ in range(buckets)]
    for file in files:
        for batch in batches_of(file, [*key, "score"], BATCH):
            table = batch.cast(schema)
            bucket = _bucket(table, key, buckets)
            for number in np.unique(bucket):
                pieces[number].append(spill.put_table(table.filter(pa.array(bucket == number))))
            score = table["score"].to_numpy()
            rows, low, high = rows + len(score), min(low, score.min()), max(high, score.max())
    return Bucketed(spill, pieces, rows, float(low), float(high))


def _bucket(table: pa.Table, key: Sequence[str], buckets: int) -> np.ndarray[Any, Any]:
    return row_hashes(with_one_zero(table.select(list(key))))[0] % np.uint64(buckets)


def _nothing(key: Sequence[str]) -> pa.Schema:
    return pa.schema([*(pa.field(name, pa.null()) for name in key), pa.field("score", pa.float64())])
