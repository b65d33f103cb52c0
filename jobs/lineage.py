"""Backward from a published score to all that it rests on, and forward from a partition to all that leans on it.

Nothing is written for this: it is read from the table's history, the registry, the ledger and the snapshots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.code_version import Environment
from jobs.errors import Misconfigured, Tampered
from jobs.lineage_row import RowLineage, find_row
from jobs.provenance import environment_of, snapshot_of
from jobs.snapshot import Snapshot, SnapshotPart
from jobs.spec_file import load_spec
from jobs.table import Publication, predictions_path, publications
from model_registry.evidence import GateReport
from model_registry.store import Stage, Version
from model_registry.timeline import Promotion, effective, withdrawn

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from jobs.partition import Partition
    from jobs.settings import Settings
    from model_registry.promotion import Registry


@dataclass(frozen=True)
class Lineage:
    """What the scores of a partition rest on.

    `earlier` are the publications that this one replaced, `replaced_by` the one that readers see instead, if any.
    `report` is None when the version was never judged, `promotion` when it was never in production, `snapshot` when the
    version is older than snapshots; a None for another reason has a sentence in `notes`. `environment` says which code
    and packages fitted the version.
    """

    publication: Publication
    earlier: tuple[Publication, ...]
    replaced_by: Publication | None
    version: Version
    report: GateReport | None
    promotion: Promotion | None
    snapshot: Snapshot | None
    environment: Environment | None
    row: RowLineage | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reach:
    """A publication that leans on a training partition, and whether readers still see it."""

    publication: Publication
    current: bool


@dataclass(frozen=True)
class Leaning:
    """A version that leans on a partition, and all that it published.

    `role` is `training` or `holdout`, and `window` when only the version's window is known: then `part` is None.
    """

    version: Version
    role: str
    part: SnapshotPart | None
    publications: tuple[Reach, ...]


def lineage(
    settings: Settings,
    registry: Registry,
    model: str,
    partition: str,
    key: Sequence[str] | None = None,
    table_version: int | None = None,
) -> Lineage:
    """What the published scores of a partition rest on; with `key`, also what became of that row.

    It is about the publication that readers see, or the one that made `table_version`. Raises Misconfigured when there
    is none, when the key is not one, or when the registry has another version under that number; and UnknownVersion.
    """
    spec = load_spec(settings.models, model)
    asked = spec.source.calendar.parse(partition)
    found = [p for p in publications(predictions_path(settings, spec)) if (p.model, p.partition) == (model, asked.key)]
    chosen = [p for p in found if table_version in {None, p.table_version}]
    if not chosen:
        where = "" if table_version is None else f" as table version {table_version}"
        raise Misconfigured(
            f"{model} {asked} is not published{where}: `lamplighter status` shows which partitions are."
        )
    publication = chosen[-1]
    version = _version(registry, publication)
    snapshot, *notes = _snapshot(registry, version)
    report, *more = _report(registry, version)
    moves = _moves(registry, publication)
    return Lineage(
        publication=publication,
        earlier=tuple(found[: found.index(publication)]),
        replaced_by=found[-1] if found[-1] != publication else None,
        version=version,
        report=report,
        promotion=_promotion(moves, asked, publication),
        snapshot=snapshot,
        environment=environment_of(registry.store, version),
        row=find_row(settings, spec, publication, key) if key else None,
        notes=tuple(note for note in (*notes, *more, *_since(moves, version)) if note),
    )


def leaning_on(settings: Settings, registry: Registry, model: str, partition: str) -> list[Leaning]:
    """Every version whose training or holdout has the partition, oldest first, with every publication of each.

    A version whose snapshot is not known or was changed is found by its window: none is left out.
    """
    spec = load_spec(settings.models, model)
    asked = spec.source.calendar.parse(partition)
    found = [p for p in publications(predictions_path(settings, spec)) if p.model == model]
    newest = {p.partition: p for p in found}
    leaning = []
    for version in registry.store.versions(model):
        if not version.trained_from <= asked.start < version.trained_until:
            continue
        snapshot, _ = _snapshot(registry, version)
        role, part = (snapshot.find(asked.key) or (None, None)) if snapshot else ("window", None)
        if role is not None:
            made = tuple(Reach(p, newest[p.partition] == p) for p in found if _by(p, version))
            leaning.append(Leaning(version, role, part, made))
    return leaning


def _by(publication: Publication, version: Version) -> bool:
    return (publication.version, publication.digest) == (version.number, version.digest)


def _snapshot(registry: Registry, version: Version) -> tuple[Snapshot | None, str | None]:
    if not version.snapshot:
        return None, f"{version} was registered before snapshots were kept."
    try:
        return snapshot_of(registry.store, version), None
    except Tampered as error:
        return None, str(error)


def _report(registry: Registry, version: Version) -> tuple[GateReport | None, str | None]:
    """The report of the version's metric gate, or what is wrong with it."""
    try:
        decision = registry.store.evidence(version)
    except Misconfigured as error:
        return None, str(error)
    return decision.report if decision else None, None


def _version(registry: Registry, publication: Publication) -> Version:
    version = registry.store.version(publication.model, publication.version)
    if version.digest != publication.digest:
        raise Misconfigured(
            f"{publication.model} {publication.partition} was published by a version {publication.version} with the "
            f"digest {publication.digest[:12]}, and the registry's version {version.number} has {version.digest[:12]}: "
            f"look in the registry that was in use then."
        )
    return version


def _moves(registry: Registry, publication: Publication) -> list[Promotion]:
    with registry.ledger.reading() as session:
        return session.history(publication.model, Stage.production)


def _since(moves: Sequence[Promotion], version: Version) -> Iterator[str]:
    """What became of the version later that whoever looks at its scores should know."""
    mine = [move for move in moves if move.version == version.number]
    if mine and mine[-1].until is not None:
        yield f"Version {version.number} was in production although its gate was closed, until {_day(mine[-1].until)}."
    by = withdrawn(moves).get(version.number)
    if by is not None:
        when = f"at {_day(by.recorded_at)} by {by.actor}, from {_day(by.effective_from)} on"
        yield f"Version {version.number} was withdrawn {when}: {by.reason}"


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _promotion(moves: Sequence[Promotion], partition: Partition, publication: Publication) -> Promotion | None:
    """The move that had put the version into production for the partition when it was published, or its newest move."""
    known = [m for m in moves if publication.published_at is None or m.recorded_at <= publication.published_at]
    in_force = effective(known, partition.start)
    if in_force is not None and in_force.version == publication.version:
        return in_force
    return next((m for m in reversed(known) if m.version == publication.version), None)
