"""Bringing the aliases of a model in step with its ledger, and telling what was cut off from what was moved by hand.

The ledger notes where it left each alias. An alias that is where it was left, while the ledger has moved on, belongs to
a move that was cut off (or to an override that expired): it is finished. An alias that is neither where it was left nor
where it should be was moved by hand: honoured and recorded if the version has passed evidence, refused if not.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from model_registry.codec import digest
from model_registry.errors import Misconfigured, UnknownVersion
from model_registry.steps import step
from model_registry.store import RegistryStore, Stage, Version
from model_registry.timeline import Kind, Promotion, current, standing

if TYPE_CHECKING:
    from model_registry.ledger import LedgerSession

log = logging.getLogger(__name__)


def settle(store: RegistryStore, session: LedgerSession, model: str, moving: int | None = None) -> None:
    """Bring every alias of the model in step with the ledger. The model's lock must be held.

    `moving` is a version that is about to be moved: an alias that points to it is no surprise. Raises Misconfigured,
    with the remedy, for an alias that was moved by hand to a version without passed evidence, and for a version in
    production that was deleted.
    """
    for stage in Stage:
        _settle_stage(store, session, model, stage, moving)


def _settle_stage(store: RegistryStore, session: LedgerSession, model: str, stage: Stage, moving: int | None) -> None:
    now = datetime.now(UTC)
    wanted = standing(session.history(model), stage, now)
    left, there = session.noted_alias(model, stage), store.alias(model, stage)
    if there == wanted == left:
        return
    by_hand = there not in {wanted, left}
    if by_hand and there is not None and stage is not Stage.archived:
        if there != moving:
            _follow_hand(store, session, model, stage, there, now)
        return
    if by_hand:
        was = "deleted" if there is None else f"moved to version {there}"
        log.warning("The alias %s@%s was %s by hand: it points to version %s again.", model, stage, was, wanted)
    row = current(session.history(model, stage), now) if stage is Stage.production else None
    _point(store, model, stage, wanted, row)
    step("alias:moved")
    session.note_alias(model, stage, wanted, now)


def _point(store: RegistryStore, model: str, stage: Stage, wanted: int | None, row: Promotion | None) -> None:
    if wanted is None:
        store.drop_alias(model, stage)
        return
    try:
        store.set_alias(model, stage, wanted)
        version = store.version(model, wanted)
    except UnknownVersion as error:
        raise deleted(model, wanted, stage) from error
    said = f"until {row.until:%Y-%m-%d %H:%M} UTC by {row.actor}: {row.reason}" if row and row.until else ""
    if version.override != said and stage is Stage.production:
        store.tag(version, "override", said)


def deleted(model: str, number: int, stage: Stage) -> Misconfigured:
    """What to say of a version that stands in the ledger and is not in the registry any more."""
    return Misconfigured(
        f"Version {number} of {model} is in {stage} by the ledger and was deleted in MLflow: return to the version "
        f"before with `lamplighter roll-back --model {model} --reason ...`, or restore it in MLflow."
    )


def _follow_hand(
    store: RegistryStore, session: LedgerSession, model: str, stage: Stage, there: int, now: datetime
) -> None:
    version = store.version(model, there)
    newest = current(session.history(model, stage), now)
    kept = _passed(store, version)
    if stage is Stage.production and kept is None:
        remedy = f"point it back to version {newest.version}" if newest else "delete the alias"
        raise Misconfigured(
            f"The alias {model}@production was moved by hand to version {there}, which has no passed report: "
            f"{remedy} in MLflow, or judge and promote the version with `lamplighter`."
        )
    begins = max(now, newest.effective_from) if newest else now  # else the alias would not be the newest
    log.warning("The alias %s@%s was moved by hand to version %s: recorded as external.", model, stage, there)
    session.append(
        Promotion(
            model=model,
            version=there,
            digest=version.digest,
            stage=stage,
            effective_from=begins,
            recorded_at=now,
            actor="external",
            reason="the alias was moved outside Lamplighter",
            evidence=kept,
            kind=Kind.external,
            replaces=newest.version if newest else None,
        )
    )
    store.set_alias(model, stage, there)  # the legacy stage, too
    session.note_alias(model, stage, there, now)


def _passed(store: RegistryStore, version: Version) -> str | None:
    decision = store.evidence(version)
    return digest(decision) if decision is not None and decision.report.passed else None
