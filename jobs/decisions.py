"""What was decided about each version of a model, and what came of it: registry and ledger side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from model_registry.metric_gate import Decision
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
