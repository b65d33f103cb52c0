"""What a roll back returns to, whether it was done before, and how it is told."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from model_registry.demands import recorded
from model_registry.errors import UnknownVersion
from model_registry.requests import Outcome, PromotionResult
from model_registry.store import Stage
from model_registry.timeline import Kind, Promotion, before, effective, withdrawn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from model_registry.ledger import Ledger
    from model_registry.store import RegistryStore, Version


def lost(store: RegistryStore, row: Promotion | None) -> bool:
    """Whether the version that the row names was deleted, or replaced by another of its number."""
    if row is None:
        return False
    try:
        return store.version(row.model, row.version).digest != row.digest
    except UnknownVersion:
        return True


def earlier(
    production: Sequence[Promotion], now: Promotion | None, bad: int | None, request: str | None = None
) -> Promotion | None:
    """The roll back that did what is asked for already: the request's own, that of `bad`, or the newest if it was one.

    A request that has rolled back is not about what was promoted since.
    """
    mine = [p for p in production if p.kind is Kind.roll_back and request is not None and p.request == request]
    if mine:
        return mine[-1]
    if bad is not None:
        return withdrawn(production).get(bad)
    newest = now or (production[-1] if production else None)
    return newest if newest is not None and newest.kind is Kind.roll_back else None


def target(store: RegistryStore, history: Sequence[Promotion], now: datetime) -> Version | None:
    """The best version to return to that is still as it was recorded, or None."""
    digests = {p.version: p.digest for p in history}
    for number in before(history, now):
        try:
            version = store.version(history[0].model, number)
        except UnknownVersion:  # deleted in MLflow: the one before it, then
            continue
        if version.digest == digests[number]:
            return version
    return None


def withdrawal_of(ledger: Ledger, version: Version) -> Promotion | None:
    """The roll back that has withdrawn the version, unless it was put into production again since."""
    return withdrawals(ledger, version.model).get(version.number)


def withdrawals(ledger: Ledger, model: str) -> dict[int, Promotion]:
    """The roll back of each version that is withdrawn, unless it was put into production again since."""
    with ledger.reading() as session:
        return withdrawn(session.history(model))


def told(model: str, to: Version | None, since: datetime, bad: int, reason: str) -> str:
    """What a roll back did."""
    where = f"is back at version {to.number}" if to else "has no version in production"
    retrain = "" if to else " There is none to return to: retrain."
    return f"{model} {where} from {since:%Y-%m-%d %H:%M} UTC on; version {bad} is withdrawn ({reason}).{retrain}"


def passed_over(production: Sequence[Promotion], since: datetime, to: Version | None) -> str:
    """A further sentence when the version that was there just before is not the one to return to."""
    there = effective(production, since - timedelta(microseconds=1))
    if there is None or to is None or there.version == to.number or there.kind is not Kind.override:
        return ""
    return f" Version {there.version}, there just before by an override, is passed over: promote it if it is wanted."


def told_before(by: Promotion, now: Promotion | None) -> str:
    """What was done already, by whom, and how to go further."""
    further = f" To go back further, name the version to withdraw: {now.version}." if now else ""
    place = f"version {now.version} is in production" if now else "no version is in production"
    return (
        f"Version {by.replaces} of {by.model} was withdrawn already, at {by.recorded_at:%Y-%m-%d %H:%M} UTC by "
        f"{by.actor} ({by.reason}): {place}.{further}"
    )


def nothing_to_withdraw(model: str, bad: int | None, now: Promotion | None) -> str:
    """Why the version that is named cannot be withdrawn."""
    if now is None:
        return f"{model} has no version in production: there is nothing to roll back."
    return f"Version {bad} of {model} is not in production, version {now.version} is: nothing was rolled back."


def nothing_to_return_to(now: Promotion) -> str:
    """Why the version in production cannot be withdrawn."""
    return (
        f"{now.model} was never in production with another version than {now.version} that passed its gate: there is "
        f"nothing to roll back to. Retrain, or promote another version with an override."
    )


def rolled_back(to: Version | None, start: datetime, sentence: str, bad: int) -> PromotionResult:
    """The answer to a roll back that was carried out."""
    return PromotionResult(Outcome.rolled_back, to, Stage.production, start, sentence, bad)


def repeated(store: RegistryStore, by: Promotion) -> PromotionResult:
    """The answer that the same request got, or would have got had it not been cut off: nobody may know of it yet."""
    bad = by.version if by.replaces is None else by.replaces
    to = None if by.version == bad else recorded(store, by)
    return rolled_back(to, by.effective_from, told(by.model, to, by.effective_from, bad, by.reason), bad)


def nothing_new(store: RegistryStore, by: Promotion, now: Promotion | None) -> PromotionResult:
    """The answer when what is asked for was done before."""
    version = recorded(store, now) if now else None
    return PromotionResult(
        Outcome.unchanged, version, Stage.production, by.effective_from, told_before(by, now), by.replaces
    )
