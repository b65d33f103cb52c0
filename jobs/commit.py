"""Commits to the tables of a model: fenced, atomic, and the others following the first.

The predictions are the first: their commit carries the transaction number after the one that was read when the attempt
began, so an attempt that was overtaken cannot commit any more. It lists the files of the rejected rows, and of the
shadow's scores, whose tables follow in commits of their own. Cut off in between, the same job finishes it when it runs
again, or the next plan.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction

from jobs.errors import Misconfigured, Rejected, Superseded, Unavailable, in_brief
from jobs.fragments import WrittenFile
from jobs.steps import step
from jobs.storage import Place, reaching
from jobs.table import (
    PARTITION,
    Publication,
    app_id,
    app_id_of,
    ensure_table,
    metadata,
    newest_first,
    open_table,
    open_version,
    predictions_path,
    predictions_schema,
    publication_of,
    rejected_path,
    rejected_schema,
    shadow_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.context import JobContext

ATTEMPT = "lamplighter.attempt"
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
        if _transaction(job, table) != fence.transaction:
            raise _superseded(job, fence)
        step("publish:prepared")
        if _replace(job, path, table, columns, files, fence.transaction + 1, publication.run, metadata(publication)):
            return
    raise _busy(job)


def not_overtaken(job: JobContext, fence: Fence) -> None:
    """Raise Superseded when somebody has published the partition since the attempt began: its files may be gone."""
    table = open_table(predictions_path(job.settings, job.spec))
    if table is not None and _transaction(job, table) != fence.transaction:
        raise _superseded(job, fence)


def scores_are_gone(job: JobContext) -> Rejected:
    """The error for files that nobody may remove, and somebody has."""
    return Rejected(
        f"Files that score left for {job.spec.model} {job.partition} are gone from the table's folder: run score and "
        f"output-gate again."
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


def follow(job: JobContext) -> None:
    """Let the rejected rows, and the scores of the shadow, follow the predictions that readers see, unless they have.

    Raises Unavailable.
    """
    path = predictions_path(job.settings, job.spec)
    there = publication_of(path, job.partition.key)
    if there is None or there.rejected_files is None:
        return
    table = open_version(path, there.table_version)  # its number then: somebody may have published since
    number, key = _transaction(job, table), _key_of(table, job.spec.key)
    beside = rejected_path(job.settings, job.spec)
    _keep_up(job, beside, rejected_schema(key), there.rejected_files, number, there.run)
    shadow = shadow_path(job.settings, job.spec)
    if there.shadow is not None or open_table(shadow) is not None:  # scores of another publication would go with no row
        files = there.shadow.files if there.shadow else ()
        _keep_up(job, shadow, predictions_schema(key), files, number, there.run)


def _keep_up(
    job: JobContext, path: Place, columns: pa.Schema, files: Sequence[WrittenFile], number: int, attempt: str
) -> None:
    """Have a table hold what goes with the publication of that number, unless it does, or is further on."""
    for _ in range(TRIES):
        table = open_table(path)
        if table is not None and _transaction(job, table) >= number:
            return
        table = table or ensure_table(path, columns)
        if _replace(job, path, table, columns, files, number, attempt, {}):
            return
    raise _busy(job)


def settle(job: JobContext) -> None:
    """Let everything follow the predictions that readers see: the rejected rows, and the spec's database."""
    follow(job)
    follow_beyond(job)


def follow_beyond(job: JobContext) -> None:
    """Let the database of the spec follow, if there is one. Raises Unavailable and Misconfigured."""
    if job.spec.output.kind == "sql":
        from jobs.sql_sink import follow_in_database  # workers import this module, and need no database

        follow_in_database(job)


def committed(path: Place, attempt: str, fence: Fence) -> bool:
    """Whether this attempt has published to the table, which is there: it committed, and the caller did not learn."""
    return _has_committed(open_version(path, None), path, attempt, fence)


def _has_committed(table: DeltaTable, path: Place, attempt: str, fence: Fence) -> bool:
    since = newest_first(table, path, fence.table_version)
    return any(commit.get(ATTEMPT) == attempt for commit in since)


def _replace(
    job: JobContext,
    path: Place,
    table: DeltaTable,
    columns: pa.Schema,
    files: Sequence[WrittenFile],
    number: int,
    attempt: str,
    about: dict[str, str],
) -> bool:
    """One commit that replaces the partition by these files; False when another one got in between."""
    properties = CommitProperties(
        custom_metadata={ATTEMPT: attempt, **about}, app_transactions=[Transaction(app_id(job.partition), number)]
    )
    try:
        with reaching(path, (OSError, DeltaError)):
            table.create_write_transaction(
                [_action(file, job.partition.key, path) for file in files],
                mode="overwrite",
                schema=pa.schema([*columns, pa.field(PARTITION, pa.string())]),
                partition_by=[PARTITION],
                partition_filters=[(PARTITION, "=", job.partition.key)],
                commit_properties=properties,
            )
    except CommitFailedError as error:  # the next try finds out whether it was about this partition
        _was_overtaken(path, table, error)
        return False
    return True


def _was_overtaken(path: Place, table: DeltaTable, error: CommitFailedError) -> None:
    """Raise Misconfigured when nobody has committed since the table was opened: then it would be refused for ever."""
    if open_version(path, None).version() == table.version():
        raise Misconfigured(
            f"Delta refuses to write to {path.name}: {in_brief(error)}. Set the table's properties back."
        ) from error


def _transaction(job: JobContext, table: DeltaTable) -> int:
    return table.transaction_version(app_id(job.partition)) or 0


def _key_of(table: DeltaTable, key: Sequence[str]) -> pa.Schema:
    there = pa.schema(table.schema().to_arrow())
    return pa.schema([pa.field(name, there.field(name).type) for name in key])


def _action(file: WrittenFile, partition: str, table: Place) -> AddAction:
    modified = int((table / file.path).stat().st_mtime * 1000)
    stats = json.dumps({"numRecords": file.rows})
    return AddAction(file.path, file.size, {PARTITION: partition}, modified, data_change=True, stats=stats)


def _busy(job: JobContext) -> Unavailable:
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
