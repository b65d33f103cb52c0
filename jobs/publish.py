"""The job `publish`: one atomic commit replaces the partition, or nothing happens.

Files were left in the table's folder by the workers; a reader sees them from the commit on (jobs/commit.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.commit import commit_predictions, committed, not_overtaken, scores_are_gone
from jobs.context import COMMAND_LINE
from jobs.errors import Rejected
from jobs.follow import follow, follow_beyond, settle
from jobs.fragments import WrittenFile
from jobs.output_gate import OutputGateResult, judged_files
from jobs.plan import Plan
from jobs.registry import open_ledger
from jobs.score import ScoreResult
from jobs.source import file_and_folder
from jobs.steps import step
from jobs.storage import read_schema, unwritten_since
from jobs.sweep import sweep
from jobs.table import (
    Publication,
    Shadowed,
    back_from,
    open_version,
    predictions_path,
    predictions_schema,
    publication_of,
    rejected_path,
)
from model_registry.roll_back import withdrawal_of

if TYPE_CHECKING:
    from jobs.context import JobContext


@dataclass(frozen=True)
class PublishResult:
    """The publication that readers see now; `unchanged` when it was made neither by this job nor by one it repeats."""

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
    """Publish the scores that the output gate of this run has judged, whatever was scored since.

    Raises Rejected when the gate did not open or the version was rolled back meanwhile, Superseded when overtaken.
    """
    plan = job.recall("plan", Plan)
    job = job.under(plan)
    judged = job.recall("output-gate", OutputGateResult)
    scored = judged.scored
    path = predictions_path(job.settings, job.spec)
    there = publication_of(path, plan.partition)
    if there is not None and (plan.published or committed(path, _attempt(job, scored), plan.predictions)):
        settle(job)
        sweep(job)
        own = there.run == _attempt(job, scored) or (
            job.run != COMMAND_LINE and there.run.rpartition(" ")[0] == job.run
        )
        return _done(job, there, unchanged=not own)  # of its own, nobody may have been told yet
    if judged.report is None:
        raise Rejected(f"The scores of {plan.model} {plan.partition} were not judged: run plan again.")
    if not judged.report.passed:
        raise Rejected(judged.report.verdict(), judged.report)
    step("publish:begun")
    _still_stands(job, plan)
    try:
        _as_judged(job, judged)
        _commit(job, plan, scored, judged.content)
    except FileNotFoundError as error:  # whoever has published meanwhile has swept, too
        not_overtaken(job, plan.predictions)
        raise scores_are_gone(job) from error
    step("publish:committed")
    follow(job)
    step("publish:rejected")
    follow_beyond(job)
    sweep(job)
    step("publish:swept")
    made = next(p for p in back_from(open_version(path, None), path) if p.run == _attempt(job, scored))
    return _done(job, made, unchanged=False)


def _still_stands(job: JobContext, plan: Plan) -> None:
    """Raise Rejected when the version was rolled back since it was planned with. Raises Unavailable."""
    ledger = open_ledger(job.settings)
    try:
        by = withdrawal_of(ledger, plan.version)
    finally:
        ledger.close()
    if by is not None and not plan.withdrawn:
        raise Rejected(
            f"Version {plan.version.number} of {plan.model} was rolled back by {by.actor} ({by.reason}) after "
            f"{plan.partition} was planned with it: nothing was published. Run it again from its plan."
        )


def _as_judged(job: JobContext, judged: OutputGateResult) -> None:
    """Raise Rejected when a file was written since the output gate read it, FileNotFoundError when one is gone."""
    tables = predictions_path(job.settings, job.spec), rejected_path(job.settings, job.spec)
    for path, stamp in zip(chain(*judged_files(judged.scored, *tables)), judged.stamps, strict=True):
        if not unwritten_since(path, stamp):
            raise Rejected(
                f"{file_and_folder(str(path))} of {tables[0].name} was changed after the output gate had read it: run "
                f"score and output-gate again."
            )


def _commit(job: JobContext, plan: Plan, scored: ScoreResult, content: str) -> None:
    columns = predictions_schema(_key_schema(job, scored))
    files = _files(scored, "predictions")
    commit_predictions(job, plan.predictions, columns, files, _describe(job, plan, scored, content))


def _done(job: JobContext, publication: Publication, *, unchanged: bool) -> PublishResult:
    result = PublishResult(publication, unchanged)
    job.keep("publish", result)
    step("publish:kept")
    return result


def _attempt(job: JobContext, scored: ScoreResult) -> str:
    """Names the attempt in the table's history: a retry of the same attempt finds its own commit."""
    return f"{job.run} {scored.attempt}"


def _describe(job: JobContext, plan: Plan, scored: ScoreResult, content: str) -> Publication:
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
        rejected_files=tuple(_files(scored, "rejected")),
        score_mean=total / scored.rows_scored if scored.rows_scored else None,
        seconds=job.seconds_since_plan(),
        content=content,
        source_version=plan.source_version,
        shadow=_shadowed(plan, scored),
    )


def _shadowed(plan: Plan, scored: ScoreResult) -> Shadowed | None:
    if plan.shadow is None or scored.shadow != plan.shadow.number:
        return None
    return Shadowed(plan.shadow.number, plan.shadow.digest, tuple(_files(scored, "shadow")))


def _files(scored: ScoreResult, which: str) -> list[WrittenFile]:
    found = [getattr(fragment, which) for fragment in scored.fragments]
    return [file for file in found if file is not None]


def _key_schema(job: JobContext, scored: ScoreResult) -> pa.Schema:
    """The key's columns as the workers left them."""
    first = _files(scored, "predictions")[0]
    written = read_schema(predictions_path(job.settings, job.spec) / first.path)
    return pa.schema([written.field(name) for name in job.spec.key])
