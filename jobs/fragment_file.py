"""A Parquet file in a table's folder that is no part of the table yet, written batch by batch."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.fragments import WrittenFile, checksum
from jobs.storage import arrow, place, reaching

OPTIONS: dict[str, Any] = {"compression": "zstd", "write_page_checksum": True, "coerce_timestamps": "us"}
REPEATED = ["version", "reason"]
"""Columns with few values: only there a dictionary is worth its time, keys and scores it makes larger."""


class FragmentFile:
    """Written while it is entered. Without rows there is no file, and after an error there is none either.

    Raises Unavailable when the disk is full.
    """

    def __init__(self, folder: str, name: str) -> None:
        self.rows = 0
        self._name = name
        self._path = place(folder) / name
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Add rows."""
        if not table.num_rows:
            return
        with reaching(self._path.parent):
            if self._writer is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                path, files = arrow(self._path)
                self._writer = pq.ParquetWriter(
                    path, table.schema, filesystem=files, use_dictionary=REPEATED, **OPTIONS
                )
            self._writer.write_table(table)
        self.rows += table.num_rows

    def written(self) -> WrittenFile | None:
        """The file, once it is left."""
        if not self.rows:
            return None
        return WrittenFile(self._name, self._path.stat().st_size, self.rows, checksum(self._path))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if self._writer is None and kind is None:
            return
        try:
            if self._writer is not None:
                with reaching(self._path.parent), suppress(*([OSError] if kind else [])):
                    self._writer.close()
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        if kind is not None:
            self._path.unlink(missing_ok=True)
