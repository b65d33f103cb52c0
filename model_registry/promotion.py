"""How a version gets to production, and which version was there at a time.

Moves are serialised by the ledger's lock, and rest on evidence: no passed report, no production. MLflow's alias and the
ledger's row are brought together by `reconcile`, which every promotion and every resolution calls first.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from model_registry.codec import digest
from model_registry.errors import ChampionMoved, Misconfigured, Rejected, UnknownVersion
from model_registry.ledger import Ledger, LedgerSession, Promotion
from model_registry.metric_gate import Action, Decision
from model_registry.store import RegistryStore, Stage, Version

if TYPE_CHECKING:
    from model_registry.evidence import GateReport

END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class Outcome(StrEnum):
    """What a call of `promote` did."""

    promoted = "promoted"
    staged = "staged"
    kept = "kept"
    unchanged = "unchanged"


@dataclass(frozen=True)
class PromotionResult:
    """The outcome of a promotion in words and figures."""

    outcome: Outcome
    version: Version
    stage: Stage | None
    effective_from: datetime | None
    sentence: str


@dataclass(frozen=True)
class Request:
    """Who wants a version in which stage, from when, and why."""

    stage: Stage
    effective_from: datetime
    actor: str
    reason: str
    recorded_at: datetime


class Registry:
    """Store and ledger together: the one place where a stage is moved or read."""

    def __init__(self, store: RegistryStore, ledger: Ledger) -> None:
        self.store = store
        self.ledger = ledger

    def champion(self, model: str, at: datetime) -> Version | None:
        """The version in production at business time `at`, or None. Raises Misconfigured on a foreign alias."""
        with self.ledger.locked(model) as session:
            return self._champion(session, model, at)

    def promote(self, decision: Decision, request: Request) -> PromotionResult:
        """Carry out a decision once, however often it is asked.

        Raises ChampionMoved when the champion is not the one that was decided against, Rejected when the version has no
        passed report, and Misconfigured when the alias was moved by hand to a version without evidence.
        """
        candidate = decision.candidate
        with self.ledger.locked(candidate.model) as session:
            finishing = None if decision.action is Action.keep else candidate.number
            champion = self._champion(session, candidate.model, request.effective_from, finishing)
            if request.stage is Stage.production and champion is not None and champion.number == candidate.number:
                self._point_alias(session, candidate.model, request.stage)
                return PromotionResult(
                    Outcome.unchanged, candidate, Stage.production, None, f"{candidate} is in production already."
                )
            if decision.action is Action.keep:
                return PromotionResult(Outcome.kept, candidate, None, None, decision.verdict())
            report = self._evidence(candidate)
            self._same_champion(decision.champion, champion, candidate)
            return self._move(session, candidate, request, report)

    def _move(
        self, session: LedgerSession, candidate: Version, request: Request, report: GateReport
    ) -> PromotionResult:
        row = Promotion(
            candidate.model,
            candidate.number,
            candidate.digest,
            request.stage,
            request.effective_from,
            request.recorded_at,
            request.actor,
            request.reason,
            digest(report),
        )
        if request.stage is Stage.staging:
            staged = session.history(candidate.model, Stage.staging)
            if staged and staged[-1].version == candidate.number:
                return PromotionResult(Outcome.unchanged, candidate, Stage.staging, None, f"{candidate} is staged.")
            outcome, words = Outcome.staged, "waits in staging"
        else:
            outcome, words = Outcome.promoted, f"is in production from {request.effective_from:%Y-%m-%d %H:%M} UTC on"
        session.append(row)
        self._point_alias(session, candidate.model, request.stage)
        return PromotionResult(outcome, candidate, request.stage, request.effective_from, f"{candidate} {words}.")

    def _point_alias(self, session: LedgerSession, model: str, stage: Stage) -> None:
        newest = session.effective(model, stage, END_OF_TIME)
        if newest is not None and self.store.alias(model, stage) != newest.version:
            self.store.set_alias(model, stage, newest.version)

    def _champion(
        self, session: LedgerSession, model: str, at: datetime, finishing: int | None = None
    ) -> Version | None:
        self._reconcile(session, model, finishing)
        row = session.effective(model, Stage.production, at)
        if row is None:
            return None
        version = self.store.version(model, row.version)
        if version.digest != row.digest:
            raise Misconfigured(
                f"{version} is recorded in the ledger with digest {row.digest[:12]}, and the registry says "
                f"{version.digest[:12]}: somebody replaced it. Promote another version."
            )
        return version

    def _reconcile(self, session: LedgerSession, model: str, finishing: int | None) -> None:
        """Notice an alias that was moved by hand: record it if the version has passed evidence, refuse it if not."""
        alias = self.store.alias(model, Stage.production)
        newest = session.effective(model, Stage.production, END_OF_TIME)
        if alias is None or alias == finishing or (newest is not None and newest.version == alias):
            return
        version = self.store.version(model, alias)
        report = self.store.evidence(version)
        if report is None or not report.passed:
            remedy = f"point it back to version {newest.version}" if newest else "delete the alias"
            raise Misconfigured(
                f"The alias {model}@production was moved by hand to version {alias}, which has no passed report: "
                f"{remedy} in MLflow, or judge and promote the version with `lamplighter`."
            )
        now = datetime.now(UTC)
        begins = (
            max(now, newest.effective_from) if newest is not None else now
        )  # else the alias would not be the newest
        reason = "the alias was moved outside Lamplighter"
        session.append(
            Promotion(
                model,
                alias,
                version.digest,
                Stage.production,
                begins,
                now,
                "external",
                reason,
                digest(report),
                external=True,
            )
        )

    def _evidence(self, candidate: Version) -> GateReport:
        report = self.store.evidence(candidate)
        if report is None:
            raise Rejected(f"{candidate} has no report of a metric gate: judge it before promoting it.")
        if not report.passed:
            raise Rejected(report.verdict(), report)
        return report

    @staticmethod
    def _same_champion(decided: Version | None, now: Version | None, candidate: Version) -> None:
        if (decided.number if decided else None) == (now.number if now else None):
            return
        was = f"version {decided.number}" if decided else "no champion"
        is_now = f"version {now.number}" if now else "none"
        raise ChampionMoved(
            f"{candidate} was judged against {was}, and the champion is now {is_now}: evaluate and judge it again."
        )


class Selector:
    """Which version a scoring run asks for: `as-of`, `production`, or a number."""

    AS_OF = "as-of"
    PRODUCTION = "production"


def resolve(registry: Registry, model: str, selector: str, at: datetime) -> Version:
    """The version that scores a partition beginning at `at` (UTC).

    `as-of` is the version in production at `at`, `production` the one in production now, a number just that one. A
    version that has seen data from `at` or later is refused: its scores would know the future.
    Raises UnknownVersion and Misconfigured.
    """
    if selector == Selector.AS_OF:
        found = registry.champion(model, at)
    elif selector == Selector.PRODUCTION:
        found = registry.champion(model, END_OF_TIME)
    elif selector.isdecimal():
        found = registry.store.version(model, int(selector))
    else:
        raise Misconfigured(f"No version is called {selector!r}: ask for as-of, production or a number.")
    if found is None:
        when = f"at {at:%Y-%m-%d %H:%M} UTC" if selector == Selector.AS_OF else "now"
        raise UnknownVersion(f"{model} has no version in production {when}: retrain and promote one first.")
    if found.trained_until > at:
        raise Misconfigured(
            f"{found} has seen data up to {found.trained_until:%Y-%m-%d %H:%M} UTC and cannot score a partition that "
            f"begins at {at:%Y-%m-%d %H:%M} UTC: choose as-of, or a version trained on earlier data."
        )
    return found
