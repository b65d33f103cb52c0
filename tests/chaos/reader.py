"""A reader who looks all the while: one complete publication or none, at every moment."""

import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from tally import Tally

from jobs.context import JobContext
from jobs.table import Publication, open_table, predictions_path, publications, rejected_path


@dataclass(frozen=True)
class Content:
    """What a publication must hold: its rows and its rejected rows, sorted by key."""

    predictions: pa.Table
    rejected: pa.Table


class Reader(AbstractContextManager["Reader"]):
    """Reads a partition again and again in a thread of its own, and compares with what its publication must hold."""

    def __init__(self, job: JobContext, expected: dict[str, Content], tally: Tally) -> None:
        self._job = job
        self._expected = expected
        self._tally = tally
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_all_the_while, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._over.set()
        self._thread.join()

    def _look_all_the_while(self) -> None:
        pause = 0.02
        while not self._over.wait(pause):
            began = time.monotonic()
            self.look()
            pause = max(0.02, time.monotonic() - began)  # half of a core is left to whom it looks at

    def look(self, version: int | None = None) -> None:
        """Read once, of now or of a version of the table."""
        self._tally.reads += 1
        try:
            fault = self._fault(version)
        except Exception as error:  # noqa: BLE001 - whatever a reader meets is a torn read
            fault = f"{type(error).__name__}: {error}"
        if fault:
            self._tally.torn += 1
            self._tally.notes.append(f"torn read: {fault[:500]}")

    def _fault(self, version: int | None) -> str:
        path = predictions_path(self._job.settings, self._job.spec)
        beside = rejected_path(self._job.settings, self._job.spec)
        following = open_table(beside)
        table = open_table(path, version)
        if table is None:
            return "" if following is None else "rejected rows without predictions"
        rows = rows_of(table, self._job.partition.key)
        publication = self._publication_at(table.version())
        if publication is None:
            return "rows without a publication" if rows.num_rows else ""
        content = self._expected[publication.input_digest]
        if not rows.equals(content.predictions):
            return f"version {table.version()} has {rows.num_rows} rows, not those of {publication.run}"
        files = [beside / file.path for file in publication.rejected_files or ()]
        parts = [pq.read_table(file, partitioning=None) for file in files]
        bad = _sorted(pa.concat_tables(parts)) if parts else content.rejected.slice(0, 0)
        if not bad.equals(content.rejected):
            return f"{bad.num_rows} rejected rows are not those of {publication.run}"
        return self._fault_of_the_table_beside(following) if following is not None else ""

    def _fault_of_the_table_beside(self, following: DeltaTable) -> str:
        """The rejected rows at one version of their table are those of one publication, or none."""
        rows = rows_of(following, self._job.partition.key)
        known = [content.rejected for content in self._expected.values()]
        return "" if not rows.num_rows or any(rows.equals(k) for k in known) else "rejected rows of no publication"

    def _publication_at(self, version: int) -> Publication | None:
        path = predictions_path(self._job.settings, self._job.spec)
        found = [p for p in publications(path) if p.partition == self._job.partition.key]
        then = [p for p in found if p.table_version is not None and p.table_version <= version]
        return then[-1] if then else None


def rows_of(table: DeltaTable, partition: str) -> pa.Table:
    """The rows of a partition at the version that was opened, sorted by key."""
    return _sorted(table.to_pyarrow_table(filters=[("partition", "=", partition)]).drop_columns("partition"))


def _sorted(rows: Any) -> pa.Table:
    rows = pa.table(rows)
    return rows.take(pc.sort_indices(rows, sort_keys=[("toy_id", "ascending")])).combine_chunks()
