"""What production demands of a version: each demand is met, or it is Rejected in one sentence with the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_registry.errors import ChampionMoved, Misconfigured, Rejected, UnknownVersion
from model_registry.requests import Approval
from model_registry.store import RegistryStore, Version

if TYPE_CHECKING:
    from model_registry.metric_gate import Decision
    from model_registry.requests import Request
    from model_registry.timeline import Promotion


def judged(store: RegistryStore, candidate: Version) -> Decision:
    """The decision kept with the candidate. Raises Rejected when there is none, or when it is another version's."""
    found = store.evidence(candidate)
    if found is None:
        raise Rejected(f"{candidate} has no report of a metric gate: judge it before promoting it.")
    if (found.candidate.number, found.candidate.digest) != (candidate.number, candidate.digest):
        raise Rejected(f"The report kept with {candidate} is about {found.candidate}: judge {candidate} itself.")
    return found


def passed(store: RegistryStore, candidate: Version) -> Decision:
    """The decision kept with the candidate, whose gate is open. Raises Rejected with the report when it is closed."""
    found = judged(store, candidate)
    if not found.report.passed:
        raise Rejected(found.report.verdict(), found.report)
    return found


def same_champion(decided: Version | None, now: Version | None, candidate: Version, row: Promotion | None) -> None:
    """Raise ChampionMoved when the champion (of `row`) is not the one that the candidate was judged against."""
    if (decided.number if decided else None) == (now.number if now else None):
        return
    against = f"version {decided.number}" if decided else "no champion"
    instead = f"version {now.number}" if now else "none"
    when = f" for a partition that ends on {row.effective_from:%Y-%m-%d %H:%M} UTC or later" if row else ""
    raise ChampionMoved(
        f"{candidate} was judged against {against}, and the champion is now {instead}: evaluate and judge it "
        f"again{when}."
    )


def approved(candidate: Version, request: Request) -> None:
    """Raise Rejected when the spec wants a person to agree and nobody did, or nobody but who asked."""
    if request.approval is Approval.none:
        return
    if request.approved_by is None:
        raise Rejected(
            f"{candidate} needs an approval before it gets to production: trigger promote_{candidate.model} in "
            f"Airflow, or say who agreed with --approved-by."
        )
    if request.approval is Approval.two_persons and request.approved_by == request.actor:
        raise Rejected(
            f"{request.actor} asked for {candidate} and cannot approve it alone: the spec wants a second person."
        )


def withdrawal(candidate: Version, by: Promotion) -> str:
    """Why a version that was rolled back is not promoted again by itself."""
    return (
        f"{candidate} was withdrawn at {by.recorded_at:%Y-%m-%d %H:%M} UTC by {by.actor} ({by.reason}): it is not "
        f"promoted again by itself. If it should be, promote it by its number: --version {candidate.number}."
    )


def recorded(store: RegistryStore, row: Promotion, *, now: bool = True) -> Version:
    """The version that a row of the ledger names. Raises Misconfigured when it was deleted or replaced since.

    `now` tells whether it is in production now or was once: the remedy is another.
    """
    there = f"is in {row.stage} by the ledger" if now else f"was in {row.stage} then by the ledger"
    remedy = (
        f"return to the version before with `lamplighter roll-back --model {row.model} --reason ...`."
        if now
        else "name another version to score this partition with."
    )
    try:
        version = store.version(row.model, row.version)
    except UnknownVersion as error:
        was = f"Version {row.version} of {row.model} {there} and was deleted in MLflow"
        lost = "if MLflow itself was lost or is another one, restore it or check MLFLOW_TRACKING_URI"
        raise Misconfigured(f"{was}: {lost}; else {remedy}") from error
    if version.digest != row.digest:
        raise Misconfigured(
            f"{version} {there} with digest {row.digest[:12]}, and the registry says {version.digest[:12]}: somebody "
            f"replaced it; {remedy}"
        )
    return version
