"""Whether any key occurs twice, in bounded memory: a 64-bit hash of each key, sorted.

Equal keys have equal hashes, so "no" is certain. Two keys may have one hash by chance (among ten million keys once in
some hundred thousand partitions): "perhaps" is for jobs/key_counts.py to look into.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.content_digest import fixed
from jobs.row_digest import row_hashes
from jobs.spill import Piece, Spill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.siphash import Words

HELD = 2_097_152
SHARES = 256
SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""Odd, so that no two numbers have one product; Knuth's multiplicative hashing, so that keys that count up spread."""


class KeyHashes:
    """Takes the hashes of keys. At most `held` of them are in memory, the others on disk."""

    def __init__(self, held: int = HELD) -> None:
        self._held = np.empty(held, np.uint64)
        self._count = 0
        self._spill = Spill()
        self._runs: list[tuple[int, np.ndarray[Any, np.dtype[np.int64]]]] = []

    def add(self, hashes: Words) -> None:
        """Take what `key_hashes` gives for some keys."""
        while self._count + len(hashes) > len(self._held):
            fits = len(self._held) - self._count
            self._held[self._count :] = hashes[:fits]
            hashes, self._count = hashes[fits:], len(self._held)
            self._put_aside()
        self._held[self._count : self._count + len(hashes)] = hashes
        self._count += len(hashes)

    def perhaps_twice(self) -> bool:
        """Whether two rows may have the same key; False is certain."""
        if not self._runs:
            return _has_twins(self._sorted())
        self._put_aside()
        return any(_has_twins(share) for share in self._shares())

    def _sorted(self) -> Words:
        """Those that are held, in their order; to be used before others are taken."""
        held, self._count = self._held[: self._count], 0
        held.sort()
        return held

    def _put_aside(self) -> None:
        """Write the hashes in their order, with the places where each share of all possible hashes begins."""
        run = self._sorted()
        bounds = np.arange(SHARES, dtype=np.uint64) << np.uint64(56)
        starts = np.append(np.searchsorted(run, bounds), len(run))
        self._runs.append((self._spill.put(pa.py_buffer(run)).start, starts * run.itemsize))

    def _shares(self) -> Iterator[Words]:
        """The hashes of each share, from all runs, in order."""
        for share in range(SHARES):
            pieces = [Piece(run + int(at[share]), int(at[share + 1] - at[share])) for run, at in self._runs]
            together = np.concatenate([np.frombuffer(self._spill.get(piece), np.uint64) for piece in pieces])
            together.sort()
            yield together


def key_hashes(keys: pa.Table) -> Words:
    """64 bits of hash of each key, a row of columns without nulls: of keys that have the same columns and types.

    One whole number is spread only, so that different numbers have different hashes.
    """
    if keys.num_columns == 1 and pa.types.is_int64(keys[0].type):
        return fixed(keys[0], "<i8").view(np.uint64) * SPREAD
    return row_hashes(with_one_zero(keys))[0]


def with_one_zero(keys: pa.Table) -> pa.Table:
    """The keys, with both zeros of floats as one."""
    columns = [pc.add(c, 0.0) if pa.types.is_floating(c.type) else c for c in keys.columns]
    return pa.table(columns, names=[f"c{n}" for n in range(keys.num_columns)])


def _has_twins(ordered: Words) -> bool:
    return bool((ordered[1:] == ordered[:-1]).any())
