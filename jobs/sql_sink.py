"""The table of predictions in a database, in step with the Delta table, which stays the book of record.

A publication is a commit to the Delta table, and follows from there into the database: its rows are copied into a
staging table, batch by batch, and one transaction puts them in the place of the partition's and notes the publication.
The number of the Delta table's transaction is the fence: it only ever grows, so who comes late, or twice, changes
nothing. Cut off anywhere, the next plan or publication of the partition finishes it (docs/decisions/0013).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pyarrow as pa
import sqlalchemy as sa

from jobs.batches import read_batches
from jobs.database import transaction
from jobs.errors import Misconfigured, Unavailable
from jobs.sql_tables import ATTEMPT, NUMBER, SinkTables, add_rows, lock
from jobs.steps import step
from jobs.table import PARTITION, Publication, app_id, files_of, open_version, predictions_path, publication_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deltalake import DeltaTable

    from jobs.context import JobContext
    from jobs.storage import Place

BATCH = 10_000


def follow_in_database(job: JobContext) -> None:
    """Let the database follow the predictions that readers of the Delta table see, unless it has.

    Raises Unavailable when the database does not answer or is busy, Misconfigured when it cannot take the rows or
    follows another table already.
    """
    path = predictions_path(job.settings, job.spec)
    there = publication_of(path, job.partition.key)
    if there is None:
        return
    table = open_version(path, there.table_version)
    sink = _Sink(job, there, table)
    if sink.is_behind():
        sink.stage(_batches(files_of(table, path, PARTITION, there.partition), sink.columns))
    sink.replace()
    step("publish:followed")


class _Sink:
    """The database's tables, for one attempt to copy one publication."""

    def __init__(self, job: JobContext, publication: Publication, table: DeltaTable) -> None:
        schema = pa.schema(table.schema().to_arrow())
        self.columns = [name for name in schema.names if name != PARTITION]
        self._variable = str(job.spec.output.database)
        self._tables = SinkTables.of(job.spec.output.table, schema, job.spec.key)
        self._publication = publication
        self._number = table.transaction_version(app_id(job.partition)) or 0
        self._table_id = str(table.metadata().id)
        self._attempt = uuid4().hex

    def is_behind(self) -> bool:
        """Whether the database has yet to follow. Makes the tables when they are not there."""
        with transaction(self._variable, write=True) as connection:
            self._tables.ensure(connection, self._variable)
            return self._seen(connection) < self._number

    def stage(self, batches: Iterator[pa.Table]) -> None:
        """Copy the rows to where no reader looks."""
        mine = {PARTITION: self._publication.partition, ATTEMPT: self._attempt, NUMBER: self._number}
        for batch in batches:
            with transaction(self._variable, write=True) as connection:
                add_rows(connection, self._tables.staging, batch, mine)
            step("publish:staged")

    def replace(self) -> None:
        """Put the staged rows in the place of the partition's, unless this or a later publication is there."""
        rows, staging = self._tables.rows, self._tables.staging
        partition = self._publication.partition
        with transaction(self._variable, write=True) as connection:
            lock(connection, f"{rows.name} {partition}")
            seen = self._seen(connection)
            if seen < self._number:
                names = [PARTITION, *self.columns]
                staged = sa.select(*[staging.c[name] for name in names]).where(staging.c[ATTEMPT] == self._attempt)
                connection.execute(sa.delete(rows).where(rows.c[PARTITION] == partition))
                moved = sa.insert(rows).from_select(names, staged).execution_options(preserve_rowcount=True)
                self._all_there(connection.execute(moved).rowcount)
                connection.execute(sa.insert(self._tables.publications).values(self._described()))
                step("publish:replaced")
            over = (staging.c[PARTITION] == partition) & (staging.c[NUMBER] <= max(seen, self._number))
            connection.execute(sa.delete(staging).where(over))

    def _seen(self, connection: sa.Connection) -> int:
        """The number of the publication that readers of the database see; 0 when there is none."""
        noted = self._tables.publications
        mine = sa.select(noted.c.number, noted.c.table_id).where(noted.c[PARTITION] == self._publication.partition)
        newest = connection.execute(mine.order_by(noted.c.number.desc()).limit(1)).first()
        if newest is not None and newest.table_id != self._table_id:
            raise Misconfigured(
                f"The table {self._tables.rows.name} in the database of {self._variable} follows another table of "
                f"predictions: choose another output.table, or drop it and {noted.name}."
            )
        return 0 if newest is None else int(newest.number)

    def _all_there(self, copied: int) -> None:
        if copied != self._publication.rows_scored:
            raise Unavailable(
                f"Of {self._publication.rows_scored} rows {copied} were staged for {self._tables.rows.name} "
                f"{self._publication.partition}: somebody else has emptied the staging table; run again."
            )

    def _described(self) -> dict[str, Any]:
        p = self._publication
        about = {name: getattr(p, name) for name in self._tables.lineage}
        clock = {"published_at": p.published_at, "recorded_at": datetime.now(UTC)}
        return about | clock | {"number": self._number, "table_id": self._table_id}


def _batches(files: list[Place], columns: list[str]) -> Iterator[pa.Table]:
    for file in files:
        yield from read_batches(str(file), None, columns, BATCH)
