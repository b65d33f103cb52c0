"""How a version gets to a stage, and back: on evidence, once, one at a time, recorded.

A move is a row in the ledger first, committed under the model's lock, and an alias in MLflow then. Whoever comes next
brings the alias in step with the ledger before anything else (`settle`), so that a move that was cut off between the
two is finished by any later command.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from model_registry.codec import digest, from_json, to_json
from model_registry.demands import approved, judged, passed, recorded, same_champion, withdrawal
from model_registry.errors import Misconfigured, Rejected, Unavailable
from model_registry.metric_gate import Action, Decision
from model_registry.requests import Outcome, PromotionResult, Request, carried_out
from model_registry.roll_back import (
    earlier,
    lost,
    nothing_new,
    nothing_to_return_to,
    nothing_to_withdraw,
    passed_over,
    repeated,
    rolled_back,
    target,
    told,
)
from model_registry.semver import change, following
from model_registry.settle import Moves, settle
from model_registry.steps import step
from model_registry.store import RegistryStore, Stage, Version
from model_registry.timeline import END_OF_TIME, Kind, Promotion, began, current, effective, standing, withdrawn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_registry.ledger import Ledger, LedgerSession


class Registry:
    """Store and ledger together: the one place where a stage is moved or read."""

    def __init__(self, store: RegistryStore, ledger: Ledger) -> None:
        self.store = store
        self.ledger = ledger

    def champion(self, model: str, at: datetime) -> Version | None:
        """The version in production at business time `at`, or None. Raises Misconfigured on a foreign alias."""
        with self._settled(model) as session:
            history = session.history(model, Stage.production)
            row = effective(history, at)
            return recorded(self.store, row, now=row == current(history, datetime.now(UTC))) if row else None

    def production(self, model: str) -> Version | None:
        """The version in production now, or None. Raises Misconfigured on a foreign alias."""
        with self._settled(model) as session:
            row = current(session.history(model, Stage.production), datetime.now(UTC))
            return recorded(self.store, row) if row else None

    def settle(self, model: str) -> None:
        """Bring aliases and ledger in step, whatever happened to whoever was moving them. Raises Misconfigured."""
        with self._settled(model):
            pass

    def name(self, decision: Decision, *, improved: bool) -> Decision:
        """The decision with the semantic version of its candidate, which is given one if it has none."""
        with self.ledger.locked(decision.candidate.model):
            candidate = self.store.version(decision.candidate.model, decision.candidate.number)
            if not candidate.semver:
                kind = change(candidate, decision.champion, improved=improved) if decision.champion else None
                taken = [version.semver for version in self.store.versions(candidate.model)]
                candidate = replace(candidate, semver=following(taken, kind))
                self.store.tag(candidate, "semver", candidate.semver)
        return replace(decision, candidate=candidate)

    def record(self, decision: Decision, at: datetime) -> None:
        """Keep a decision in the ledger, whatever becomes of it: a later one does not take its place there."""
        candidate, text = decision.candidate, to_json(decision)
        with self.ledger.locked(candidate.model) as session:
            session.keep_evidence(digest(decision), candidate.model, candidate.number, text, at)

    def decisions(self, model: str) -> list[tuple[datetime, Decision]]:
        """Every decision about versions of a model with the time at which it was made, oldest first."""
        with self.ledger.reading() as session:
            return [(at, from_json(Decision, text)) for at, text in session.decisions(model)]

    def promote(self, decision: Decision, request: Request) -> PromotionResult:
        """Carry out a decision once, however often it is asked; with `request.until`, although its gate is closed.

        Raises ChampionMoved when the champion is not the one that was decided against, Rejected when the version has no
        passed report or lacks an approval, and Misconfigured when the alias was moved by hand to a version without
        evidence.
        """
        candidate = decision.candidate
        moving = None if decision.action is Action.keep and request.until is None else candidate.number
        with self._settled(candidate.model, moving) as session:
            history = session.history(candidate.model)
            answer = _done(history, candidate, request) or _kept_back(history, decision, request)
            if answer is not None:
                return answer
            kept, champion = self._demanded(history, decision, request)
            step("promotion:checked")
            text, evidence = to_json(kept), digest(kept)
            session.keep_evidence(evidence, candidate.model, candidate.number, text, request.recorded_at)
            self._append(session, candidate, request, _kind(request), champion, evidence)
            there = standing(session.history(candidate.model), Stage.production, request.recorded_at)
        return self._follow(candidate.model, carried_out(candidate, request, there))

    def archive(self, candidate: Version, request: Request) -> PromotionResult:
        """Put a version aside: nobody returns to it by itself. Raises Rejected for the version in production."""
        with self._settled(candidate.model) as session:
            history = session.history(candidate.model)
            if standing(history, Stage.production, request.recorded_at) == candidate.number:
                raise Rejected(f"{candidate} is in production: promote another version or roll back, then archive it.")
            if standing(history, Stage.production, END_OF_TIME) == candidate.number:
                raise Rejected(f"{candidate} is in production again when the override ends: archive it after another.")
            if {p.version: p.stage for p in history}.get(candidate.number) is Stage.archived:
                words = f"{candidate} is archived already."
                return PromotionResult(Outcome.unchanged, candidate, Stage.archived, None, words)
            self._append(session, candidate, request, Kind.archive)
        done = PromotionResult(Outcome.archived, candidate, Stage.archived, None, f"{candidate} is archived.")
        return self._follow(candidate.model, done)

    def roll_back(
        self, model: str, request: Request, bad: int | None = None, since: datetime | None = None
    ) -> PromotionResult:
        """Return to the version that was in production before; the withdrawn one is not promoted again by itself.

        `bad` is the version to withdraw (default: the one in production). It counts from `since`, or from when the bad
        version began to be in production, so that the partitions that it scored can be scored again. The same call
        again changes nothing. Raises Rejected when there is nothing to return to, unless the bad version was deleted:
        then none is in production.
        """
        with self._settled(model, mending=True) as session:
            history = session.history(model)
            production = [p for p in history if p.stage is Stage.production]
            now = current(production, request.recorded_at)
            gone = lost(self.store, now)
            by = None if gone else earlier(production, now, bad, request.id)
            if by is not None:
                mine = request.id is not None and by.request == request.id and now in {None, by}
                return repeated(self.store, by) if mine else nothing_new(self.store, by, now)
            if now is None or bad not in {None, now.version}:
                raise Rejected(nothing_to_withdraw(model, bad, now))
            to = target(self.store, history, request.recorded_at)
            if to is None and not gone:
                raise Rejected(nothing_to_return_to(now))
            start = since or began(history, request.recorded_at) or now.effective_from
            session.append(_withdrawing(now, to, replace(request, effective_from=start), history))
            step("promotion:appended")
        sentence = told(model, to, start, now.version, request.reason) + passed_over(production, start, to)
        return self._follow(model, rolled_back(to, start, sentence, now.version))

    @contextmanager
    def _settled(self, model: str, moving: int | None = None, *, mending: bool = False) -> Iterator[LedgerSession]:
        """The model's lock, aliases and ledger in step; a refusal is no reason to forget what was settled before it.

        `mending` leaves them alone when the version in production is lost, which is what is to be mended.
        """
        refusal, moves = None, Moves(moving)
        with self._noted(model, moves) as session:
            step("promotion:locked")
            try:
                if not mending or not self._lost(session, model):
                    settle(self.store, session, model, moves)
                yield session
            except (Rejected, Misconfigured) as error:
                refusal = error
        if refusal is not None:
            raise refusal

    @contextmanager
    def _noted(self, model: str, moves: Moves) -> Iterator[LedgerSession]:
        """The model's lock. Should it be lost with the database while an alias is moved, that is put right at once.

        Others may have moved it meanwhile, and only this process knows that the last one to do so was not a person.
        """
        try:
            with self.ledger.locked(model) as session:
                yield session
        except Unavailable:
            if moves.done:
                with suppress(Unavailable, Misconfigured), self.ledger.locked(model) as session:
                    settle(self.store, session, model, Moves(done=moves.done))
            raise

    def _lost(self, session: LedgerSession, model: str) -> bool:
        return lost(self.store, current(session.history(model, Stage.production), datetime.now(UTC)))

    def _demanded(self, history: list[Promotion], decision: Decision, request: Request) -> tuple[Decision, int | None]:
        """The evidence and the champion that is replaced, once everything that the stage demands is there."""
        candidate = decision.candidate
        kept = passed(self.store, candidate) if request.until is None else judged(self.store, candidate)
        if request.stage is not Stage.production:
            return kept, None
        approved(candidate, request)
        row = effective([p for p in history if p.stage is Stage.production], request.effective_from)
        if request.until is None:
            same_champion(decision.champion, recorded(self.store, row) if row else None, candidate, row)
        return kept, row.version if row else None

    def _append(
        self,
        session: LedgerSession,
        version: Version,
        request: Request,
        kind: Kind,
        replaces: int | None = None,
        evidence: str | None = None,
    ) -> None:
        session.append(_row(version.model, version.number, version.digest, request, kind, replaces, evidence))
        step("promotion:appended")

    def _follow(self, model: str, result: PromotionResult) -> PromotionResult:
        """Let the aliases follow what the ledger has just committed."""
        step("promotion:recorded")
        moves = Moves()
        with self._noted(model, moves) as session:
            step("alias:locked")
            settle(self.store, session, model, moves)
            step("alias:noted")
        step("promotion:settled")
        return result


def _row(
    model: str, number: int, digest: str, request: Request, kind: Kind, replaces: int | None, evidence: str | None
) -> Promotion:
    return Promotion(
        model=model,
        version=number,
        digest=digest,
        stage=request.stage,
        effective_from=request.effective_from,
        recorded_at=request.recorded_at,
        actor=request.actor,
        reason=request.reason,
        evidence=evidence,
        kind=kind,
        until=request.until,
        replaces=replaces,
        approved_by=request.approved_by,
        request=request.id,
    )


def _kind(request: Request) -> Kind:
    if request.stage is not Stage.production:
        return Kind.challenge
    return Kind.promotion if request.until is None else Kind.override


def _done(history: list[Promotion], candidate: Version, request: Request) -> PromotionResult | None:
    """What needs no doing: the version is there already. The same request gets the same answer again."""
    if request.stage is Stage.production:
        there = effective([p for p in history if p.stage is Stage.production], request.effective_from)
        renewed = there is not None and there.kind is Kind.override and request.until not in {None, there.until}
        if there is None or there.version != candidate.number or renewed:
            return None
        words = f"{candidate} is in production already{_override(there)}."
    else:
        if standing(history, request.stage, request.recorded_at) != candidate.number:
            return None
        there = [p for p in history if (p.stage, p.version) == (request.stage, candidate.number)][-1]
        words = f"{candidate} is staged."
    if request.id is not None and there.request == request.id:
        return carried_out(candidate, replace(request, effective_from=there.effective_from, until=there.until))
    return PromotionResult(Outcome.unchanged, candidate, request.stage, None, words)


def _override(there: Promotion) -> str:
    if there.until is None:
        return ""
    return (
        f", by an override until {there.until:%Y-%m-%d %H:%M} UTC: to keep it longer, override again with that --until"
    )


def _kept_back(history: list[Promotion], decision: Decision, request: Request) -> PromotionResult | None:
    """The answer for a candidate that nobody insists on: not good enough, or withdrawn before."""
    if request.until is not None:
        return None
    if decision.action is Action.keep:
        return PromotionResult(Outcome.kept, decision.candidate, None, None, decision.verdict())
    by = withdrawn(history).get(decision.candidate.number)
    if by is None or request.by_name or request.stage is not Stage.production:
        return None
    return PromotionResult(Outcome.kept, decision.candidate, None, None, withdrawal(decision.candidate, by))


def _withdrawing(now: Promotion, to: Version | None, request: Request, history: list[Promotion]) -> Promotion:
    """The row of a roll back; with nothing to return to it names the version that it withdraws."""
    number, digest = (to.number, to.digest) if to else (now.version, now.digest)
    evidence = next((p.evidence for p in reversed(history) if p.version == number and p.evidence), None)
    return _row(now.model, number, digest, request, Kind.roll_back, now.version, evidence)
