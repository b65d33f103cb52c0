"""The jobs `judge` and `promote`: from an evaluation to a decision, and from a decision to the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.errors import Misconfigured
from jobs.report_page import render_page, write_page
from jobs.training import Evaluation
from model_registry import metric_gate
from model_registry.metric_gate import Decision
from model_registry.promotion import PromotionResult, Request
from model_registry.store import Stage

if TYPE_CHECKING:
    from jobs.context import JobContext


def judge(job: JobContext) -> Decision:
    """Decide about the candidate of this run, and keep the report with the version and as a page."""
    evaluation = job.recall("evaluate", Evaluation)
    rules = [gate.rule() for gate in job.spec.metric_gates]
    decision = metric_gate.judge(
        evaluation.candidate, evaluation.champion, evaluation.metrics, evaluation.champion_metrics, rules
    )
    sentences = [decision.verdict().removesuffix(f" {decision.report.verdict()}"), evaluation.sentence()]
    page = render_page([decision.report], sentences)
    if decision.champion is None or decision.champion.number != decision.candidate.number:
        job.registry().store.attach(decision.candidate, decision.report, page)
    job.keep("judge", decision)
    write_page(job.folder / "judge.html", [decision.report], sentences=sentences)
    return decision


def promote(job: JobContext, stage: Stage | None = None, reason: str | None = None) -> PromotionResult:
    """Carry out the decision of this run, effective from the end of the partition.

    `stage` is the policy of the spec unless given. Raises ChampionMoved, Rejected and Misconfigured.
    """
    decision = job.recall("judge", Decision)
    request = Request(
        stage=stage or job.spec.promotion.to,
        effective_from=job.partition.end,
        actor=job.settings.actor,
        reason=reason or f"retrain for {job.partition}: {decision.action}",
        recorded_at=datetime.now(UTC),
    )
    result = job.registry().promote(decision, request)
    job.keep("promote", result)
    return result


def stage_called(name: str) -> Stage:
    """The stage that a person named. Raises Misconfigured."""
    if name not in {Stage.production, Stage.staging}:
        raise Misconfigured(f"There is no stage {name!r} to promote to: choose production or staging.")
    return Stage(name)
