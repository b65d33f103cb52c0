"""What does not fit into memory, in a file without a name: it is gone with the process, however that ends."""

from __future__ import annotations

import os
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, NamedTuple
from weakref import finalize

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterable


class Piece(NamedTuple):
    """Where something lies: the number of its first byte, and of bytes."""

    start: int
    size: int


class Spill:
    """Takes pieces one after the other, and gives them back in any order. Not to be written by two threads at once.

    One open file however many pieces there are; it lies in the system's folder for temporary files.
    """

    def __init__(self) -> None:
        with TemporaryFile() as file:
            self._file = os.dup(file.fileno())
        finalize(self, os.close, self._file)
        self.size = 0

    def put(self, piece: pa.Buffer) -> Piece:
        """Append a piece. Raises OSError when the disk is full."""
        start, rest = self.size, memoryview(piece)
        while rest:
            written = os.pwrite(self._file, rest, self.size)
            self.size, rest = self.size + written, rest[written:]
        return Piece(start, self.size - start)

    def get(self, piece: Piece) -> pa.Buffer:
        """A piece, or any part of one."""
        parts = []
        start, end = piece.start, piece.start + piece.size
        while start < end:
            parts.append(os.pread(self._file, end - start, start))
            start += len(parts[-1])
        return pa.py_buffer(parts[0] if len(parts) == 1 else b"".join(parts))

    def put_table(self, table: pa.Table) -> Piece:
        """Append a table."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return self.put(sink.getvalue())

    def tables(self, pieces: Iterable[Piece]) -> pa.Table:
        """Tables of one schema together. There must be one at least."""
        return pa.concat_tables([pa.ipc.open_stream(self.get(piece)).read_all() for piece in pieces])
