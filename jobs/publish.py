"""The job `publish`: one atomic commit replaces the partition, or nothing happens.

Files were left in the table's folder by the workers; a reader sees them from the commit on. The commit carries the
transaction number that was read when the attempt began, so an attempt that was overtaken cannot commit any more.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from jobs.errors import Rejected, Superseded, Unavailable
from jobs.output_gate import OutputGateResult
from jobs.plan import Fence, Plan
from jobs.score import ScoreResult
from jobs.score_fragment import WrittenFile
from jobs.table import (
    PARTITION,
    Publication,
    app_id,
    ensure_table,
    history,
    metadata,
    open_table,
    predictions_path,
    predictions_schema,
    published,
    rejected_path,
    rejected_schema,
)

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.context import JobContext

ATTEMPT = "lamplighter.attempt"
TRIES = 10


@dataclass(frozen=True)
class PublishResult:
    """The publication that readers see now, and whether this job made it."""

    publication: Publication
    unchanged: bool

    def sentence(self) -> str:
        """The result for a person."""
        p = self.publication
        what = f"{p.model} {p.partition}: {p.rows_scored:,} rows by version {p.version}"
        if self.unchanged:
            return f"{what} are published already; nothing was changed."
        return f"{what} are published as table version {p.table_version}, {p.rows_rejected:,} rejected."


def publish(job: JobContext) -> PublishResult:
    """Publish the scores of this run. Raises Rejected when the output gate did not open, Superseded when overtaken."""
    plan, scored = job.recall("plan", Plan), job.recall("score", ScoreResult)
    judged = job.recall("output-gate", OutputGateResult)
    path = predictions_path(job.settings, job.spec)
    there = published(path).get(plan.partition)
    if there is not None and (plan.published or _committed(path, _attempt(job, scored)) is not None):
        return _done(job, there, unchanged=True)
    if judged.report is None or judged.attempt != scored.attempt:
        raise Rejected(f"The scores of {plan.model} {plan.partition} were not judged: run output-gate first.")
    if not judged.report.passed:
        raise Rejected(judged.report.verdict(), judged.report)
    if not _holds(job, plan.predictions, open_table(path)):
        raise _superseded(job)  # before the rejected rows of the winner are replaced by ours
    key = _key_schema(job, scored)
    bad, good = _files(scored, "rejected"), _files(scored, "predictions")
    beside = rejected_path(job.settings, job.spec)
    rejected = _commit(job, plan.rejected, beside, rejected_schema(key), bad, None, _attempt(job, scored))
    publication = _describe(job, plan, scored, rejected)
    _commit(job, plan.predictions, path, predictions_schema(key), good, publication, _attempt(job, scored))
    return _done(job, published(path)[plan.partition], unchanged=False)


def _done(job: JobContext, publication: Publication, *, unchanged: bool) -> PublishResult:
    result = PublishResult(publication, unchanged)
    job.keep("publish", result)
    return result


def _attempt(job: JobContext, scored: ScoreResult) -> str:
    """Names the attempt in the table's history: a retry of the same attempt finds its own commit."""
    return f"{job.run} {scored.attempt}"


def _describe(job: JobContext, plan: Plan, scored: ScoreResult, rejected: int) -> Publication:
    total = sum(f.score_sum for f in scored.fragments)
    return Publication(
        model=plan.model,
        partition=plan.partition,
        version=plan.version.number,
        digest=plan.version.digest,
        input_digest=plan.input_digest,
        code=plan.code,
        rows_in=scored.rows_in,
        rows_scored=scored.rows_scored,
        rows_rejected=scored.rows_rejected,
        reasons=scored.reasons,
        engine=scored.engine,
        run=_attempt(job, scored),
        rejected_table_version=rejected,
        score_mean=total / scored.rows_scored if scored.rows_scored else None,
    )


def _files(scored: ScoreResult, which: str) -> list[WrittenFile]:
    found = [getattr(fragment, which) for fragment in scored.fragments]
    return [file for file in found if file is not None]


def _key_schema(job: JobContext, scored: ScoreResult) -> pa.Schema:
    """The key's columns as the workers left them."""
    first = _files(scored, "predictions")[0]
    written = pq.read_schema(predictions_path(job.settings, job.spec) / first.path)
    return pa.schema([written.field(name) for name in job.spec.key])


def _commit(
    job: JobContext,
    fence: Fence,
    path: Path,
    columns: pa.Schema,
    files: list[WrittenFile],
    publication: Publication | None,
    attempt: str,
) -> int:
    """Replace the partition by these files in one commit and return its table version.

    Raises Superseded when the partition was published since the attempt began, and Unavailable when commits to other
    partitions got in between again and again.
    """
    partition = job.partition.key
    schema = pa.schema([*columns, pa.field(PARTITION, pa.string())])
    properties = CommitProperties(
        custom_metadata={ATTEMPT: attempt, **(metadata(publication) if publication else {})},
        app_transactions=[Transaction(app_id(job.partition), fence.transaction + 1)],
    )
    failure: CommitFailedError | None = None
    for _ in range(TRIES):
        if (mine := _committed(path, attempt)) is not None:
            return mine
        table = ensure_table(path, columns)
        if not _holds(job, fence, table):
            raise _superseded(job)
        try:
            table.create_write_transaction(
                [_action(file, partition, path) for file in files],
                mode="overwrite",
                schema=schema,
                partition_by=[PARTITION],
                partition_filters=[(PARTITION, "=", partition)],
                commit_properties=properties,
            )
        except CommitFailedError as error:  # the next try finds out whether it was about this partition
            failure = error
    if (mine := _committed(path, attempt)) is not None:
        return mine
    raise Unavailable(f"{job.spec.model} {job.partition} found the table busy {TRIES} times: run again.") from failure


def _holds(job: JobContext, fence: Fence, table: DeltaTable | None) -> bool:
    """Whether nobody had published the partition since the attempt began when the table was opened."""
    done = table.transaction_version(app_id(job.partition)) if table is not None else None
    return (done or 0) == fence.transaction


def _committed(path: Path, attempt: str) -> int | None:
    """The table version that this attempt made already: it was committed, and the caller did not learn of it."""
    table = open_table(path)
    commits = history(table) if table is not None else []
    return next((int(commit["version"]) for commit in commits if commit.get(ATTEMPT) == attempt), None)


def _action(file: WrittenFile, partition: str, table: Path) -> AddAction:
    modified = int((table / file.path).stat().st_mtime * 1000)
    stats = json.dumps({"numRecords": file.rows})
    return AddAction(file.path, file.size, {PARTITION: partition}, modified, data_change=True, stats=stats)


def _superseded(job: JobContext) -> Superseded:
    winner = published(predictions_path(job.settings, job.spec)).get(job.partition.key)
    who = f"by version {winner.version} in run {winner.run!r}" if winner else "by another run"
    return Superseded(
        f"{job.spec.model} {job.partition} was published {who} after this attempt began: nothing was published twice. "
        f"Run it again if it should be published anew."
    )
