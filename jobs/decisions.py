"""What was decided about each version of a model, and what came of it: registry and ledger side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_registry.metric_gate import Action, Decision
from model_registry.store import Stage, Version
from model_registry.timeline import Promotion

if TYPE_CHECKING:
    from model_registry.promotion import Registry


@dataclass(frozen=True)
class VersionHistory:
    """A version, the decision about it, and its moves to production, oldest first."""

    version: Version
    decision: Decision | None
    promotions: tuple[Promotion, ...]

    def outcome(self) -> str:
        """What became of it, in words."""
        if self.promotions:
            newest = self.promotions[-1]
            until = f" until {newest.until:%Y-%m-%d}, by an override" if newest.until else " on"
            return f"in production from {newest.effective_from:%Y-%m-%d}{until}"
        if self.decision is None:
            return "not judged yet"
        return "passed, not in production" if self.decision.report.passed else "not promoted"


def version_histories(registry: Registry, model: str) -> list[VersionHistory]:
    """The history of every version of a model, oldest version first."""
    with registry.ledger.reading() as session:
        moves = session.history(model, Stage.production)
    return [
        VersionHistory(
            version, registry.store.evidence(version), tuple(m for m in moves if m.version == version.number)
        )
        for version in registry.store.versions(model)
    ]


@dataclass(frozen=True)
class KeptBack:
    """The versions that were judged since one was last promoted: all were kept back, the newest of them `version`."""

    version: int
    partition: str
    in_a_row: int

    def sentence(self) -> str:
        """For a person who looks at what is in production."""
        many = f", {self.in_a_row} in a row" if self.in_a_row > 1 else ""
        return f"the newest, version {self.version} for {self.partition}, was kept back by its metric gate{many}"


def kept_back(registry: Registry, model: str) -> KeptBack | None:
    """The newest versions in a row that their gates kept back; None when the newest one was let through."""
    newest = {decision.candidate.number: decision for _, decision in registry.decisions(model)}
    with registry.ledger.reading() as session:
        promoted = {move.version for move in session.history(model, Stage.production)}
    refused = []
    for number in sorted(newest, reverse=True):
        if newest[number].action is not Action.keep or number in promoted:
            break
        refused.append(newest[number].candidate)
    return KeptBack(refused[0].number, refused[0].partition, len(refused)) if refused else None
