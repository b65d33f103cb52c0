"""A digest over the rows of a table in whatever order, files and batches they come: a sum of a hash of each row.

Equal rows in equal numbers give equal digests. Rows are hashed in the canonical form of `content_digest`, with names
and types in the key of the hash, and the hashes are added up modulo 2**128 (Bellare and Micciancio, "A new paradigm for
collision-free hashing", 1997). It tells what differs by accident; it is no signature against a forger.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.content_digest import as_bytes, as_integers, canonical, fixed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.siphash import SipHash, Words

FORMAT = 1
ROWS = 32_768  # fewer are more calls, and the words of more do not stay in a processor's cache
WIDTH = 128


class RowDigest:
    """Adds up the rows of tables that have the same names and sorts of types."""

    def __init__(self) -> None:
        self.rows = 0
        self._sum = 0

    def add(self, table: pa.Table) -> None:
        """Add the rows of a table."""
        first, second = row_hashes(table)
        self.rows += table.num_rows
        self._sum = (self._sum + (_total(first) << 64) + _total(second)) % (1 << WIDTH)

    def merge(self, other: RowDigest) -> None:
        """Add the rows that another one has seen."""
        self.rows += other.rows
        self._sum = (self._sum + other._sum) % (1 << WIDTH)

    def hexdigest(self) -> str:
        """The digest of all rows so far: 32 hexadecimal digits, of the sum and of the number of rows."""
        return sha256(f"{FORMAT} {self.rows} {self._sum:x}".encode()).hexdigest()[: WIDTH // 4]


def row_hashes(table: pa.Table) -> tuple[Words, Words]:
    """128 bits of hash for each row, as two arrays of 64: of its values, and of the names and types of its columns.

    Tables have 1 to 64 columns.
    """
    from jobs.siphash import SipHash  # and with it Numba, which takes its time

    columns = [canonical(column) for column in table.columns]
    header = [[name, str(column.type)] for name, column in zip(table.column_names, columns, strict=True)]
    seed = sha256(json.dumps({"format": FORMAT, "columns": header}).encode()).digest()
    key = (int.from_bytes(seed[:8], "little"), int.from_bytes(seed[8:16], "little"))
    first, second = np.empty(table.num_rows, np.uint64), np.empty(table.num_rows, np.uint64)
    for start in range(0, table.num_rows, ROWS):
        part = [column.slice(start, ROWS) for column in columns]
        hashed = SipHash(len(part[0]), key)
        for column in part:
            _add(hashed, column)
        hashed.add(_there(part))
        first[start : start + ROWS], second[start : start + ROWS] = hashed.lanes()
    return first, second


def _add(hashed: SipHash, column: pa.ChunkedArray) -> None:
    """Add a column as words: one number, or the bytes of a text and then its length; a null as zero or no text."""
    if pa.types.is_float64(column.type):
        values = fixed(_filled(column, 0.0), "<f8").copy()
        values[np.isnan(values)] = np.nan
        hashed.add(values.view(np.uint64))
    elif (whole := as_integers(column)) is not None:
        hashed.add(fixed(_filled(whole, 0), "<i8").view(np.uint64))
    else:
        hashed.add(_add_bytes(hashed, as_bytes(column)))


def _filled(column: pa.ChunkedArray, value: float) -> pa.ChunkedArray:
    return column.fill_null(value) if column.null_count else column


def _there(columns: Sequence[pa.ChunkedArray]) -> Words:
    """A bit for each column that has a value. As the last word it makes the words of a row readable backwards."""
    bits = np.zeros(len(columns[0]), np.uint64)
    for n, column in enumerate(columns):
        there = fixed(column.is_valid(), "u1").astype(np.uint64) if column.null_count else np.uint64(1)
        bits ^= there << np.uint64(n)
    return bits


def _add_bytes(hashed: SipHash, texts: pa.LargeBinaryArray) -> Words:
    """Add the bytes of texts; return their lengths."""
    offsets = np.frombuffer(texts.buffers()[1], "<i8")[texts.offset : texts.offset + len(texts) + 1]
    hashed.add_texts(offsets, np.frombuffer(texts.buffers()[2] or b"", np.uint8))
    return fixed(pc.binary_length(texts), "<i8").view(np.uint64)


def _total(words: np.ndarray[Any, np.dtype[np.uint64]]) -> int:
    """The exact sum, which does not fit into 64 bits."""
    return (int((words >> np.uint64(32)).sum()) << 32) + int((words & np.uint64(0xFFFFFFFF)).sum())
