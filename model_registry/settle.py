"""Bringing the aliases of a model in step with its ledger, and telling what was cut off from what was moved by hand.

The ledger notes where it left each alias. An alias that is where it was left, while the ledger has moved on, belongs to
a move that was cut off (or to an override that expired): it is finished. So does one that points to a version which a
row names and which was not noted since: a move that came late, after others or after its override's end. Any other
alias was moved by hand: honoured and recorded if the version has passed evidence, refused if not.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from model_registry.codec import digest
from model_registry.demands import passed, recorded
from model_registry.errors import Misconfigured, Rejected, UnknownVersion
from model_registry.steps import step
from model_registry.store import RegistryStore, Stage, Version
from model_registry.timeline import Kind, Promotion, current, standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model_registry.ledger import LedgerSession

log = logging.getLogger(__name__)


@dataclass
class Moves:
    """What is known of aliases beyond the ledger.

    `expected` is a version that is about to be moved: an alias that points to it is no surprise. `done` are the moves
    that this process made, whether or not the ledger could take note of them.
    """

    expected: int | None = None
    done: set[tuple[Stage, int | None]] = field(default_factory=set)


def settle(store: RegistryStore, session: LedgerSession, model: str, moves: Moves | None = None) -> None:
    """Bring every alias of the model in step with the ledger. The model's lock must be held.

    Raises Misconfigured, with the remedy, for an alias that was moved by hand to a version without passed evidence, and
    for a version in production that was deleted.
    """
    for stage in (Stage.production, Stage.staging, Stage.archived):  # a move by hand of one empties the later ones
        _settle_stage(store, session, model, stage, moves or Moves())


def _settle_stage(store: RegistryStore, session: LedgerSession, model: str, stage: Stage, moves: Moves) -> None:
    now = datetime.now(UTC)
    history = session.history(model)
    row = current([p for p in history if p.stage is stage], now) if stage is Stage.production else None
    wanted = standing(history, stage, now)
    left, there = session.noted_alias(model, stage), store.alias(model, stage)
    if there == wanted == left:
        if row is not None and row.until is not None:
            _show_override(store, row)  # it may have been renewed
        return
    ours = (stage, there) in moves.done
    late = there not in {wanted, left, None} and (ours or _came_late(session, history, stage, there))
    by_hand = there not in {wanted, left} and not late
    if by_hand and there is not None and stage is not Stage.archived:
        if there != moves.expected:
            _follow_hand(store, session, model, stage, there, now)
        return
    session.check()  # MLflow has no locks: whoever has lost ours must not move anything any more
    moves.done.add((stage, wanted))
    if row is not None:
        _bring_to_production(store, row)
    else:
        wanted = _point(store, model, stage, wanted, left)
    if by_hand and there != wanted:
        was = "deleted" if there is None else f"moved to version {there}"
        now_it = "is taken away" if wanted is None else f"points to version {wanted} again"
        log.warning("The alias %s@%s was %s by hand: it %s.", model, stage, was, now_it)
    if late:
        log.warning("A move of %s@%s to version %s came late: it points to version %s.", model, stage, there, wanted)
        session.note_alias(model, stage, there, now)
    for number in {left, there} - {wanted} if stage is Stage.production else ():
        _hide_override(store, model, number)
    step("alias:moved")
    session.note_alias(model, stage, wanted, now)


def _came_late(session: LedgerSession, history: Sequence[Promotion], stage: Stage, there: int | None) -> bool:
    """Whether somebody of ours set out to move the alias there, and nobody noted since that it is there."""
    rows = [(n, row.recorded_at) for n, row in enumerate(history) if (row.stage, row.version) == (stage, there)]
    noted = session.noted_at(history[0].model, stage, there) if rows else None
    since = [(n, at) for n, at in rows if noted is None or at > noted]
    return any(standing(history[: n + 1], stage, at) == there != standing(history[:n], stage, at) for n, at in since)


def _bring_to_production(store: RegistryStore, row: Promotion) -> None:
    """Point the alias to what the row names. Raises Misconfigured when that was deleted or replaced since."""
    recorded(store, row)
    store.set_alias(row.model, row.stage, row.version)
    _show_override(store, row)


def _point(store: RegistryStore, model: str, stage: Stage, wanted: int | None, left: int | None) -> int | None:
    """Point the alias to `wanted`, and return where it points: a version that was deleted has none."""
    if wanted is not None:
        try:
            store.set_alias(model, stage, wanted)
        except UnknownVersion:
            if left is not None:
                log.warning("Version %s of %s is in %s by the ledger, and was deleted in MLflow.", wanted, model, stage)
        else:
            return wanted
    store.drop_alias(model, stage)
    return None


def _show_override(store: RegistryStore, row: Promotion) -> None:
    said = f"until {row.until:%Y-%m-%d %H:%M} UTC by {row.actor}: {row.reason}" if row.until else ""
    version = store.version(row.model, row.version)
    if version.override != said:
        store.tag(version, "override", said)


def _hide_override(store: RegistryStore, model: str, number: int | None) -> None:
    """Take what is said of an override from a version that is not in production any more, if it is there at all."""
    with suppress(Misconfigured):
        if number is not None and (version := store.version(model, number)).override:
            store.tag(version, "override", "")


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
    if stage is Stage.production and newest is not None:
        _hide_override(store, model, newest.version)
    session.note_alias(model, stage, there, now)


def _passed(store: RegistryStore, version: Version) -> str | None:
    try:
        return digest(passed(store, version))
    except Rejected:
        return None
