"""The job `judge`: from an evaluation to a decision, which is kept with the version."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.decision_page import decision_page
from jobs.evaluate import PLOTS
from jobs.evaluation import Evaluation
from jobs.report_page import write_text
from model_registry import metric_gate
from model_registry.metric_gate import Decision

if TYPE_CHECKING:
    from jobs.context import JobContext
    from model_registry.store import Version


def judge(job: JobContext) -> Decision:
    """Decide about the candidate of this run, and keep the report with the version and as a page."""
    found = job.recall("evaluate", Evaluation)
    rules = [gate.rule() for gate in job.spec.metric_gates]
    decision = metric_gate.judge(
        found.candidate, found.champion, found.measured, rules, found.behaviour, _notes(job, found)
    )
    plots = {path.stem: path.read_bytes() for path in sorted((job.folder / PLOTS).glob("*.png"))}
    if decision.champion is None or decision.champion.number != decision.candidate.number:
        better = metric_gate.improved(found.measured, rules)
        registry = job.registry()
        decision = registry.name(decision, improved=better)
        registry.store.attach(decision, decision_page(decision, found, plots))
        registry.record(decision, datetime.now(UTC))
    job.keep("judge", decision)
    write_text(job.folder / "judge.html", decision_page(decision, found, plots))
    return decision


def _notes(job: JobContext, found: Evaluation) -> tuple[str, ...]:
    against = f"version {found.champion.number} on the same rows" if found.champion else "no champion"
    return (
        f"About {job.spec.model} (owner: {job.spec.owner}): {job.spec.description}",
        f"Judged for partition {job.partition} on {found.rows:,} labelled rows of {found.holdout}, against {against}.",
        f"Bounds come from a paired bootstrap over those rows, seed {found.seed}.",
        *found.notes,
        *_before(job, found.candidate),
    )


def _before(job: JobContext, candidate: Version) -> list[str]:
    """What was decided about the candidate earlier, on other rows or against another champion."""
    kept = [(at, made) for at, made in job.registry().decisions(candidate.model)]
    mine = [(at, made) for at, made in kept if made.candidate.number == candidate.number]
    return [f"Judged before, at {at:%Y-%m-%d %H:%M} UTC: {made.headline()}" for at, made in mine[-3:]]
