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

from jobs.database import transaction
from jobs.errors import Misconfigured, Unavailable
from jobs.own_files import batches_of, files_kept
from jobs.sql_tables import ATTEMPT, NUMBER, SinkTables, add_rows, lock
from jobs.steps import step
from jobs.table import PARTITION, Publication, app_id, files_of, open_version, predictions_path, publication_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deltalake import DeltaTable

    from jobs.context import JobContext
    from jobs.spec import ModelSpec

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
        files = files_of(table, path, PARTITION, there.partition)
        with files_kept(path, there.model, there.partition):
            sink.stage(batch for file in files for batch in batches_of(file, sink.columns, BATCH))
    sink.replace()
    step("publish:followed")


def why_not_there(spec: ModelSpec, table: DeltaTable, there: Publication) -> str:
    """Why readers of the database do not see a publication of the table, as a sentence; nothing when they do.

    Raises Unavailable and Misconfigured.
    """
    variable, tables = str(spec.output.database), _tables(spec, table)
    where = f"the database of {variable}"
    with transaction(variable) as connection:
        for name in (tables.rows.name, tables.publications.name):
            if not sa.inspect(connection).has_table(name):
                return f"There is no table {name} in {where}."
        noted = tables.publications
        mine = sa.select(noted.c.table_version, noted.c.table_id).where(noted.c[PARTITION] == there.partition)
        newest = connection.execute(mine.order_by(noted.c.number.desc()).limit(1)).first()
        if newest is None or tuple(newest) != (there.table_version, str(table.metadata().id)):
            return f"It is not in {where} yet."
        held = _held(connection, tables, there.partition)
    return "" if held == there.rows_scored else f"{where[0].upper()}{where[1:]} holds {held:,} of its rows."


def _held(connection: sa.Connection, tables: SinkTables, partition: str) -> int:
    """How many rows of a partition readers of the database see."""
    count = sa.select(sa.func.count()).select_from(tables.rows).where(tables.rows.c[PARTITION] == partition)
    return int(connection.scalar(count) or 0)


def _tables(spec: ModelSpec, table: DeltaTable) -> SinkTables:
    """For the columns that are published; those that another tool has added stay where they are."""
    published = {*spec.key, "score", "model_version", PARTITION}
    columns = [field for field in pa.schema(table.schema().to_arrow()) if field.name in published]
    return SinkTables.of(spec.output.table, pa.schema(columns), spec.key)


class _Sink:
    """The database's tables, for one attempt to copy one publication."""

    def __init__(self, job: JobContext, publication: Publication, table: DeltaTable) -> None:
        self._tables = _tables(job.spec, table)
        self.columns = [column.name for column in self._tables.rows.columns if column.name != PARTITION]
        self._variable = str(job.spec.output.database)
        self._publication = publication
        self._number = table.transaction_version(app_id(job.partition)) or 0
        self._table_id = str(table.metadata().id)
        self._attempt = uuid4().hex

    def is_behind(self) -> bool:
        """Whether the database has yet to follow, or lost rows since. Makes the tables when they are not there."""
        with transaction(self._variable, write=True) as connection:
            self._tables.ensure(connection, self._variable)
            return self._lacks(connection, self._seen(connection))

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
            if self._lacks(connection, seen):
                names = [PARTITION, *self.columns]
                staged = sa.select(*[staging.c[name] for name in names]).where(staging.c[ATTEMPT] == self._attempt)
                connection.execute(sa.delete(rows).where(rows.c[PARTITION] == partition))
                moved = sa.insert(rows).from_select(names, staged).execution_options(preserve_rowcount=True)
                self._all_there(connection.execute(moved).rowcount)
                noted = self._tables.publications
                again = (noted.c[PARTITION] == partition) & (noted.c.number == self._number)
                connection.execute(sa.delete(noted).where(again))
                connection.execute(sa.insert(noted).values(self._described()))
                step("publish:replaced")
            over = (staging.c[PARTITION] == partition) & (staging.c[NUMBER] <= max(seen, self._number))
            connection.execute(sa.delete(staging).where(over))

    def _lacks(self, connection: sa.Connection, seen: int) -> bool:
        """Whether readers see an older publication than this one, or this one without some of its rows."""
        if seen != self._number:
            return seen < self._number
        there = self._publication
        return _held(connection, self._tables, there.partition) != there.rows_scored

    def _seen(self, connection: sa.Connection) -> int:
        """The number of the publication that readers of the database see; 0 when there is none."""
        noted = self._tables.publications
        mine = sa.select(noted.c.number, noted.c.table_id).where(noted.c[PARTITION] == self._publication.partition)
        newest = connection.execute(mine.order_by(noted.c.number.desc()).limit(1)).first()
        if newest is not None and newest.table_id != self._table_id:
            raise Misconfigured(
                f"The table {self._tables.rows.name} in the database of {self._variable} follows another table of "
                f"predictions: choose another output.table, or drop it and {noted.name} and let `lamplighter backfill "
                f"run` copy what was published."
            )
        return 0 if newest is None else int(newest.number)

    def _all_there(self, copied: int) -> None:
        if copied != self._publication.rows_scored:
            raise Unavailable(
                f"Of {self._publication.rows_scored} rows {copied} were staged for {self._tables.rows.name} "
                f"{self._publication.partition}: a trigger leaves rows out, or somebody else "
                f"has emptied the staging table: run again."
            )

    def _described(self) -> dict[str, Any]:
        p = self._publication
        about = {name: getattr(p, name) for name in self._tables.lineage}
        clock = {"published_at": p.published_at, "recorded_at": datetime.now(UTC)}
        return about | clock | {"number": self._number, "table_id": self._table_id}
