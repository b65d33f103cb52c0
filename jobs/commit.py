"""Commits to the tables of a model: fenced and atomic.

That of the predictions carries the transaction number after the one that was read when the attempt began, so an attempt
that was overtaken cannot commit any more. Other tables follow it (jobs/follow.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from jobs.errors import Misconfigured, Rejected, Superseded, Unavailable, in_brief
from jobs.fragments import WrittenFile
from jobs.steps import step
from jobs.storage import Place, reaching
from jobs.table import (
    ATTEMPT,
    PARTITION,
    Publication,
    app_id,
    app_id_of,
    ensure_table,
    has_columns,
    metadata,
    newest_first,
    open_table,
    open_version,
    predictions_path,
    publication_of,
)
from jobs.table_state import must_be_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.context import JobContext

TRIES = 10


@dataclass(frozen=True)
class Fence:
    """The state of a table when an attempt began: a publication since then supersedes the attempt."""

    table_version: int | None
    transaction: int

    @classmethod
    def of(cls, table: DeltaTable | None, app: str) -> Fence:
        """The fence of an attempt that begins now."""
        return cls(None, 0) if table is None else cls(table.version(), table.transaction_version(app) or 0)


def commit_predictions(
    job: JobContext, fence: Fence, columns: pa.Schema, files: Sequence[WrittenFile], publication: Publication
) -> None:
    """Replace the partition by these files, once, if nobody has published it since the attempt began.

    Raises Superseded if somebody has, and Unavailable when commits to other partitions got in between again and again.
    """
    path = predictions_path(job.settings, job.spec)
    for _ in range(TRIES):
        table = ensure_table(path, columns)
        if _has_committed(table, path, publication.run, fence):
            return
        if transaction(job, table) != fence.transaction:
            raise _superseded(job, fence)
        step("publish:prepared")
        if replace(job, path, table, columns, files, fence.transaction + 1, publication.run, metadata(publication)):
            return
    raise busy(job)


def not_overtaken(job: JobContext, fence: Fence) -> None:
    """Raise Superseded when somebody has published the partition since the attempt began: its files may be gone."""
    table = open_table(predictions_path(job.settings, job.spec))
    if table is not None and transaction(job, table) != fence.transaction:
        raise _superseded(job, fence)


def scores_are_gone(job: JobContext) -> Rejected:
    """The error for files that nobody may remove, and somebody has."""
    return Rejected(
        f"Files that score left for {job.spec.model} {job.partition} are gone from the table's folder, or broken: run "
        f"score and output-gate again."
    )


def raise_fence(path: Place, partition: str, number: int) -> bool:
    """Take the right to publish from all attempts that began at this number; False when somebody has published since.

    A commit that changes no row.
    """
    table = open_version(path, None)
    if (table.transaction_version(app_id_of(partition)) or 0) != number:
        return False
    properties = CommitProperties(app_transactions=[Transaction(app_id_of(partition), number + 1)])
    try:
        with reaching(path, (OSError, DeltaError)):
            table.create_write_transaction(
                [], mode="append", schema=table.schema(), partition_by=[PARTITION], commit_properties=properties
            )
    except CommitFailedError as error:
        _was_overtaken(path, table, error)
        return False
    return True


def committed(path: Place, attempt: str, fence: Fence) -> bool:
    """Whether this attempt has published to the table, which is there: it committed, and the caller did not learn."""
    return _has_committed(open_version(path, None), path, attempt, fence)


def _has_committed(table: DeltaTable, path: Place, attempt: str, fence: Fence) -> bool:
    since = newest_first(table, path, fence.table_version)
    return any(commit.get(ATTEMPT) == attempt for commit in since)


def replace(
    job: JobContext,
    path: Place,
    table: DeltaTable,
    columns: pa.Schema,
    files: Sequence[WrittenFile],
    number: int,
    attempt: str,
    about: dict[str, str],
) -> bool:
    """One commit that replaces the partition by these files; False when another one got in between.

    Columns that another tool has added to the table stay, without values in these rows.
    """
    must_be_writable(table, path)
    properties = CommitProperties(
        custom_metadata={ATTEMPT: attempt, **about}, app_transactions=[Transaction(app_id(job.partition), number)]
    )
    try:
        with reaching(path, (OSError, DeltaError)):
            table.create_write_transaction(
                [_action(file, job.partition.key, path) for file in files],
                mode="overwrite",
                schema=_schema(table, columns),
                partition_by=[PARTITION],
                partition_filters=[(PARTITION, "=", job.partition.key)],
                commit_properties=properties,
            )
    except CommitFailedError as error:  # the next try finds out whether it was about this partition
        _was_overtaken(path, table, error)
        return False
    return True


def _schema(table: DeltaTable, columns: pa.Schema) -> Schema:
    """That of the table, if it has all that is written; the one that is written would take the place of any other."""
    wanted = Schema.from_arrow(pa.schema([*columns, pa.field(PARTITION, pa.string())]))
    return table.schema() if has_columns(table, wanted) else wanted


def _was_overtaken(path: Place, table: DeltaTable, error: CommitFailedError) -> None:
    """Raise Misconfigured when nobody has committed since the table was opened: then it would be refused for ever."""
    if open_version(path, None).version() == table.version():
        raise Misconfigured(
            f"Delta refuses to write to {path.name}: {in_brief(error)}. Set the table's properties back."
        ) from error


def transaction(job: JobContext, table: DeltaTable) -> int:
    """The number of the newest publication of the job's partition in a table; 0 before the first."""
    return table.transaction_version(app_id(job.partition)) or 0


def _action(file: WrittenFile, partition: str, table: Place) -> AddAction:
    modified = int((table / file.path).stat().st_mtime * 1000)
    stats = json.dumps({"numRecords": file.rows})
    return AddAction(file.path, file.size, {PARTITION: partition}, modified, data_change=True, stats=stats)


def busy(job: JobContext) -> Unavailable:
    """The error for a table to which others commit again and again."""
    return Unavailable(f"{job.spec.model} {job.partition} found the table busy {TRIES} times: run again.")


def _superseded(job: JobContext, fence: Fence) -> Superseded:
    winner = publication_of(predictions_path(job.settings, job.spec), job.partition.key)
    before = -1 if fence.table_version is None else fence.table_version
    if winner is None or (winner.table_version or 0) <= before:
        return Superseded(
            f"{job.spec.model} {job.partition} was taken over after this attempt began, by another tool or by "
            f"`lamplighter vacuum` because its files were old: nothing was published. Run it again from its plan."
        )
    return Superseded(
        f"{job.spec.model} {job.partition} was published by version {winner.version} in run {winner.run!r} after this "
        f"attempt began: nothing was published twice. Run it again if it should be published anew."
    )
