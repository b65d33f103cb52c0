"""The jobs that move a version to a stage and back: promote, challenge, archive, roll back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from jobs.context import COMMAND_LINE
from jobs.decision_page import ReportText, decision_text
from jobs.errors import Misconfigured, Rejected
from jobs.registry import open_registry
from jobs.spec_file import load_spec
from jobs.table import Publication, predictions_path, published
from model_registry.artifacts import inspect
from model_registry.metric_gate import Action, Decision
from model_registry.requests import Approval, Outcome, PromotionResult, Request
from model_registry.resolution import named, number_called
from model_registry.store import Stage
from model_registry.timeline import effective

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.context import JobContext
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from model_registry.promotion import Registry
    from model_registry.store import Version
    from model_registry.timeline import Promotion

LONGEST_REASON = 2_000
LONGEST_NAME = 200


@dataclass(frozen=True)
class Wish:
    """What somebody asks for: a model, perhaps a version (number or semantic), a reason, and from when it counts.

    `until` makes a promotion an override. `run` is the run that asks; asked again by the same run, nothing is done
    twice.
    """

    settings: Settings
    model: str
    reason: str
    version: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    approved_by: str | None = None
    run: str = COMMAND_LINE

    def spec(self) -> ModelSpec:
        """The spec of the model. Raises InvalidSpec and Misconfigured."""
        if not self.reason.strip():
            raise Misconfigured("A move needs a reason, for whoever asks in a year: give one with --reason.")
        for what, who in (("who asks", self.settings.actor), ("who agreed", self.approved_by or "")):
            if len(who) > LONGEST_NAME:
                raise Misconfigured(f"The name of {what} has {len(who):,} characters: keep it within {LONGEST_NAME}.")
        if len(self.reason) > LONGEST_REASON:
            raise Misconfigured(f"The reason has {len(self.reason):,} characters: keep it below {LONGEST_REASON:,}.")
        return load_spec(self.settings.models, self.model)

    def candidate(self, registry: Registry) -> Version:
        """The version that is named. Raises Misconfigured and UnknownVersion."""
        if self.version is None:
            raise Misconfigured("Which version? Name one with --version, by its number or like 1.2.0.")
        return named(registry, self.model, self.version)

    def request(self, stage: Stage, approval: Approval = Approval.none) -> Request:
        """The wish as the registry understands it."""
        now = datetime.now(UTC)
        return Request(
            stage=stage,
            effective_from=self.since or now,
            actor=self.settings.actor,
            reason=self.reason.strip(),
            recorded_at=now,
            until=self.until,
            approval=approval,
            approved_by=self.approved_by,
            id=None if self.run == COMMAND_LINE else self.run,
        )


@dataclass(frozen=True)
class RollBackResult:
    """What a roll back did, and the partitions that readers still see by the withdrawn version, oldest first.

    `kept` counts those that are left out, as the version stays the one in production when they begin.
    """

    outcome: Outcome
    version: int | None
    withdrawn: int | None
    effective_from: datetime | None
    partitions: tuple[str, ...]
    words: str
    kept: int = 0

    def sentence(self) -> str:
        """The result for a person, and what to do next."""
        return (
            f"{self.told()} To score again what is listed: the same with --rescore." if self.partitions else self.told()
        )

    def told(self) -> str:
        """What was done, and what the withdrawn version has published."""
        if not self.partitions and self.kept:
            return f"{self.words} Version {self.withdrawn} keeps what it scored before: {self.kept} of the partitions."
        if not self.partitions:
            return f"{self.words} No partition that readers see was scored by version {self.withdrawn}."
        listed = ", ".join(self.partitions[:20]) + (", ..." if len(self.partitions) > 20 else "")
        count = len(self.partitions)
        return (
            f"{self.words} {count} partition{'s' if count > 1 else ''} that readers see "
            f"{'were' if count > 1 else 'was'} scored by version {self.withdrawn}: {listed}."
        )


def promote(job: JobContext, stage: Stage | None = None, wish: Wish | None = None) -> PromotionResult:
    """Carry out the decision of this run's `judge`, effective from the end of the partition.

    Repeated by the same run it does nothing more and gives the same: whoever was to be told may not have been.
    `stage` is the policy of the spec unless given. Raises ChampionMoved, Rejected and Misconfigured.
    """
    decision = job.recall("judge", Decision)
    wish = wish or Wish(job.settings, job.spec.model, "")
    named_run = job.run if job.run == COMMAND_LINE else f"{job.run} {job.partition}"
    reason = wish.reason or f"retrain for {job.partition}: {decision.action}"
    dated = replace(wish, reason=reason, since=wish.since or job.partition.end, run=named_run)
    dated.spec()
    result = _carry_out(job.registry(), decision, dated.request(stage or job.spec.promotion.to, _approval(job.spec)))
    job.keep("promote", result)
    return result


def promote_version(wish: Wish, stage: Stage = Stage.production) -> PromotionResult:
    """Bring a version to a stage on the decision that is kept with it. Raises Rejected when it is not to be."""
    spec = wish.spec()
    registry = open_registry(wish.settings)
    candidate = wish.candidate(registry)
    decision = registry.store.evidence(candidate)
    if decision is None:
        raise Rejected(
            f"{candidate} has no report of a metric gate: run `lamplighter evaluate --model {wish.model} --partition "
            f"{candidate.partition} --version {candidate.number}` and `lamplighter judge` for that partition first."
        )
    result = _carry_out(registry, decision, replace(wish.request(stage, _approval(spec)), by_name=True))
    if result.outcome is Outcome.kept:
        raise Rejected(result.sentence, decision.report)
    return result


def challenge(wish: Wish) -> PromotionResult:
    """Put a version that passed its gate into staging, where it waits for its promotion."""
    return promote_version(wish, Stage.staging)


def archive(wish: Wish) -> PromotionResult:
    """Put a version aside. Raises Rejected for the version in production."""
    wish.spec()
    registry = open_registry(wish.settings)
    return registry.archive(wish.candidate(registry), wish.request(Stage.archived))


def roll_back(wish: Wish) -> RollBackResult:
    """Return to the version that was in production before; `wish.version` names the one to withdraw (default: that)."""
    spec = wish.spec()
    registry = open_registry(wish.settings)
    bad = None
    if wish.version is not None:  # by its number also one that was deleted
        number = number_called(wish.model, wish.version)
        bad = named(registry, wish.model, wish.version).number if number is None else number
    result = registry.roll_back(wish.model, wish.request(Stage.production), bad, wish.since)
    touched = published_by(wish.settings, spec, result.withdrawn)
    with registry.ledger.reading() as session:
        history = session.history(wish.model, Stage.production)
    keys = [p.partition for p in touched if not _stays(spec, p, history)]
    version = result.version.number if result.version else None
    kept = len(touched) - len(keys)
    return RollBackResult(
        result.outcome, version, result.withdrawn, result.effective_from, tuple(keys), result.sentence, kept
    )


def report_of(wish: Wish) -> ReportText:
    """The report of a version (default: the newest that was judged) as Markdown. Raises Misconfigured."""
    registry = open_registry(wish.settings)
    load_spec(wish.settings.models, wish.model)
    versions = [wish.candidate(registry)] if wish.version else registry.store.versions(wish.model)
    for version in reversed(versions):
        decision = registry.store.evidence(version)
        if decision is not None:
            return decision_text(decision)
    which = str(versions[0]) if wish.version else f"No version of {wish.model}"
    raise Misconfigured(f"{which} has {'no' if wish.version else 'a'} report of a metric gate: judge it first.")


def published_by(settings: Settings, spec: ModelSpec, version: int | None) -> list[Publication]:
    """The publications of a version that readers see, oldest partition first."""
    found = published(predictions_path(settings, spec))
    return [publication for _, publication in sorted(found.items()) if publication.version == version]


def stage_called(name: str) -> Stage:
    """The stage that a person named. Raises Misconfigured."""
    if name not in {Stage.production, Stage.staging}:
        raise Misconfigured(f"There is no stage {name!r} to promote to: choose production or staging.")
    return Stage(name)


def _carry_out(registry: Registry, decision: Decision, request: Request) -> PromotionResult:
    if request.until is not None and request.until <= max(request.recorded_at, request.effective_from):
        begins = f"now ({request.recorded_at:%Y-%m-%d %H:%M} UTC)"
        if request.effective_from > request.recorded_at:
            begins = f"it begins ({request.effective_from:%Y-%m-%d %H:%M} UTC)"
        raise Misconfigured(
            f"An override until {request.until:%Y-%m-%d %H:%M} UTC ends before {begins}: name a later --until."
        )
    if request.stage is Stage.production and (request.until is not None or decision.action is not Action.keep):
        inspect(registry.store, decision.candidate)
    return registry.promote(decision, request)


def _approval(spec: ModelSpec) -> Approval:
    return spec.promotion.approval


def _stays(spec: ModelSpec, publication: Publication, history: Sequence[Promotion]) -> bool:
    """Whether the version that published a partition is the one in production when that begins."""
    try:
        start = spec.source.calendar.parse(publication.partition).start
    except Misconfigured:  # published when the spec had another calendar
        return False
    row = effective(history, start)
    return row is not None and row.version == publication.version
