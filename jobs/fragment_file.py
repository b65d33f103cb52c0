"""A Parquet file in a table's folder that is no part of the table yet, written batch by batch."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.fragments import WrittenFile, checksum
from jobs.storage import arrow, place, reaching

OPTIONS: dict[str, Any] = {"write_page_checksum": True, "coerce_timestamps": "us"}
REPEATED = ["reason"]
"""Texts with few values: only there a dictionary is worth its time."""


def options(schema: pa.Schema) -> dict[str, Any]:
    """How a file with these columns is written.

    Keys that are whole numbers are written as differences: smaller, and in half the time. Scores hardly compress, and
    snappy finds out sooner than zstd.
    """
    whole = [f.name for f in schema if pa.types.is_int64(f.type) or pa.types.is_timestamp(f.type)]
    return OPTIONS | {
        "use_dictionary": [name for name in REPEATED if name in schema.names],
        "column_encoding": dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
        "compression": {name: "snappy" if name in {"score", *whole} else "zstd" for name in schema.names},
    }


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
                self._writer = pq.ParquetWriter(path, table.schema, filesystem=files, **options(table.schema))
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
        try:
            if self._writer is not None:
                with reaching(self._path.parent), suppress(*([OSError] if kind else [])):
                    self._writer.close()
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        if kind is not None:
            self._path.unlink(missing_ok=True)
