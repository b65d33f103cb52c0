"""The job `score`: an engine maps `score_fragment` over the plan."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic
from typing import TYPE_CHECKING
from uuid import uuid4

from jobs.batches import common_schema, empty
from jobs.commit import not_overtaken
from jobs.engines.choose import choose_engine
from jobs.engines.warm import warm
from jobs.errors import LamplighterError, Rejected, Unavailable
from jobs.fragments import FragmentResult, fragments_key
from jobs.input_gate import InputGateResult
from jobs.plan import Plan
from jobs.progress import shown
from jobs.score_fragment import FragmentTask, score_fragment, total_reasons
from jobs.scorer import load_scorer
from jobs.shadow import ShadowTask, fault_of
from jobs.source import file_and_folder, with_rows
from jobs.steps import step
from jobs.table import predictions_path, rejected_path, shadow_path
from model_registry.artifacts import cached, verified

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from jobs.context import JobContext
    from model_registry.store import Version


@dataclass(frozen=True)
class ScoreResult:
    """What became of a partition's rows, and in which files they lie until they are published.

    `shadow` is the version in staging that has scored them, too; `shadow_fault` why none has, although it should.
    """

    model: str
    partition: str
    version: int
    engine: str
    rows_in: int
    rows_scored: int
    rows_rejected: int
    reasons: dict[str, int]
    fragments: tuple[FragmentResult, ...]
    attempt: str
    unchanged: bool = False
    reused: int = 0
    seconds: float | None = None
    shadow: int | None = None
    shadow_fault: str = ""

    def sentence(self) -> str:
        """The result for a person."""
        if self.unchanged:
            return f"{self.model} {self.partition} is published already: nothing was scored."
        why = f" ({', '.join(f'{reason} {n}' for reason, n in self.reasons.items())})" if self.reasons else ""
        again = f" {self.reused} of {len(self.fragments)} fragments were done before." if self.reused else ""
        return (
            f"{self.model} {self.partition}: {self.rows_scored:,} rows scored by version {self.version} on "
            f"{self.engine}, {self.rows_rejected:,} rejected{why}.{again}{self._of_the_shadow()}"
        )

    def _of_the_shadow(self) -> str:
        if self.shadow_fault:
            return f" The shadow has none: {self.shadow_fault}"
        return f" Version {self.shadow} scored them in the shadow." if self.shadow else ""


def score(job: JobContext, engine: str | None = None) -> ScoreResult:
    """Score every fragment of this run's plan; `engine` is the choice of the spec unless given.

    Raises Rejected when the input gate of this run is closed or the input changed since it was planned, Tampered when
    the version's files are not those that were registered, Unavailable when there is no such engine or no disk left.
    """
    plan = job.recall("plan", Plan)
    job = job.under(plan)
    if plan.published:
        result = replace(_added_up(plan, ()), unchanged=True)
        job.keep("score", result)
        return result
    _gate_is_open(job, plan)
    files = _files_of(job, plan.version)
    scorer, wanted = load_scorer(str(files)), job.spec.engine
    scorer.check_features(job.spec)
    chosen = choose_engine(engine or wanted.name, plan.rows, wanted.workers, job.settings, compiled=scorer.compiled)
    attempt = uuid4().hex[:12]  # a new one each time: the files of another attempt may be what readers see
    shadow, fault = _shadow(job, plan)
    tasks = _tasks(job, plan, str(files), attempt, shadow)
    began = monotonic()
    try:
        with warm(chosen) as running:
            done = shown(
                running.map(score_fragment, tasks), lambda r: r.rows_in, plan.rows, f"{plan.model} {plan.partition}"
            )
            results = sorted(done, key=lambda result: result.fragment)
    except FileNotFoundError as error:  # whoever has published meanwhile has swept, too
        not_overtaken(job, plan.predictions)
        if isinstance(error, LamplighterError):
            raise
        raise Unavailable(f"A file of {plan.model} {plan.partition} is gone: {error}. Run score again.") from error
    fault = fault or (_incomplete(results) if shadow else "")
    result = replace(
        _added_up(plan, results),
        engine=chosen.name,
        attempt=attempt,
        seconds=round(monotonic() - began, 3),
        shadow=shadow.version if shadow and not fault else None,
        shadow_fault=fault,
    )
    job.keep("score", result)
    step("score:kept")
    return result


def _added_up(plan: Plan, results: Sequence[FragmentResult]) -> ScoreResult:
    """All fragments together, without what the caller knows."""
    return ScoreResult(
        model=plan.model,
        partition=plan.partition,
        version=plan.version.number,
        engine="none",
        rows_in=sum(r.rows_in for r in results),
        rows_scored=sum(r.rows_scored for r in results),
        rows_rejected=sum(r.rows_rejected for r in results),
        reasons=total_reasons([r.reasons for r in results]),
        fragments=tuple(results),
        attempt="",
        reused=sum(r.reused for r in results),
    )


def _files_of(job: JobContext, version: Version) -> Path:
    """A version's files, without MLflow on all nights but one."""
    cache = job.settings.cache
    return cached(version, cache) or verified(job.registry().store, version, cache)


def _shadow(job: JobContext, plan: Plan) -> tuple[ShadowTask | None, str]:
    """What the shadow needs, or why it cannot score: production does not wait for it."""
    if plan.shadow is None:
        return None, plan.no_shadow
    try:
        files = str(_files_of(job, plan.shadow))
        load_scorer(files).check_features(job.spec)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a file or a package of the challenger's may be missing
        return None, fault_of(error)
    return ShadowTask(plan.shadow.number, files, str(shadow_path(job.settings, job.spec))), ""


def _incomplete(results: Sequence[FragmentResult]) -> str:
    """Why the shadow's scores are not those of all rows, or nothing."""
    if any(r.rows_scored != (r.shadow.rows if r.shadow else 0) for r in results):
        said = (r.shadow_fault for r in results if r.shadow_fault)
        return next(said, "an earlier attempt has scored some fragments without it.")
    return ""


def _tasks(job: JobContext, plan: Plan, files: str, attempt: str, shadow: ShadowTask | None) -> list[FragmentTask]:
    key, stamps, columns = fragments_key(plan), {file.path: file.stamp for file in plan.files}, list(job.spec.key)
    filled = [file.path for file in with_rows(plan.files)]
    names = [file_and_folder(path) for path in filled]
    where = f"{job.spec.source.path} {job.partition}"
    key_types = common_schema([empty(path, columns) for path in filled], columns, where, names)
    return [
        FragmentTask(
            fragment=fragment,
            spec=job.spec,
            partition=plan.partition,
            version=plan.version.number,
            version_files=files,
            predictions_folder=str(predictions_path(job.settings, job.spec)),
            rejected_folder=str(rejected_path(job.settings, job.spec)),
            attempt=attempt,
            fence=plan.predictions.transaction,
            key=key,
            stamp=stamps[fragment.file],
            key_types=key_types,
            shadow=shadow,
        )
        for fragment in plan.fragments
    ]


def _gate_is_open(job: JobContext, plan: Plan) -> None:
    judged = job.recalled("input-gate", InputGateResult)
    judged = judged or replace(job, plan="").recall("input-gate", InputGateResult)  # before there was a plan
    if not judged.report.passed:
        raise Rejected(judged.report.verdict(), judged.report)
    if judged.code != plan.code:
        raise Rejected(
            f"The input of {plan.model} {plan.partition} was judged by another spec or release than it is planned "
            f"with, or for a training: run input-gate again."
        )
    if judged.input_digest != plan.input_digest:
        raise Rejected(
            f"The input of {plan.model} {plan.partition} that was planned is not the input that passed the gate: it "
            f"changed in between. Run plan and input-gate again."
        )
