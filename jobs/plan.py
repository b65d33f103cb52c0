"""The job `plan`: which version scores the partition, and in which fragments, from metadata alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from jobs.alterations import Alterations
from jobs.commit import Fence
from jobs.errors import Misconfigured, Rejected, Unavailable
from jobs.follow import follow, follow_beyond
from jobs.inputs import find_input
from jobs.source import SourceFile
from jobs.spec import ModelSpec
from jobs.spec_file import code_digest
from jobs.steps import step
from jobs.table import Publication, app_id, newest_first, open_table, predictions_path, publication_in, rejected_path
from jobs.table_state import must_be_supported, must_be_writable, must_have_key
from model_registry.errors import LamplighterError
from model_registry.resolution import challenger, resolve
from model_registry.roll_back import withdrawals
from model_registry.store import Version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deltalake import DeltaTable

    from jobs.context import JobContext
    from jobs.partition import Partition
    from model_registry.promotion import Registry

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fragment:
    """A unit of scoring work: some row groups of a file."""

    number: int
    file: str
    row_groups: tuple[int, ...]
    rows: int


@dataclass(frozen=True)
class Plan:
    """Everything that the later jobs of the run need to know; `published` when there is nothing left to do.

    `spec` is the one that it was made with, which they go by. `withdrawn` tells that the version had been rolled back
    by then, and was asked for all the same.
    `shadow` is the version in staging that scores beside `version`, `no_shadow` why there is none although it is asked
    for.
    """

    id: str
    model: str
    spec: ModelSpec
    partition: str
    version: Version
    fragments: tuple[Fragment, ...]
    rows: int
    input_digest: str
    code: str
    predictions: Fence
    published: bool
    files: tuple[SourceFile, ...]
    source_version: int | None = None
    shadow: Version | None = None
    no_shadow: str = ""
    withdrawn: bool = False

    def sentence(self) -> str:
        """The plan for a person."""
        count = len(self.fragments)
        what = f"{self.model} {self.partition}: {self.rows:,} rows in {count} fragment{'' if count == 1 else 's'}"
        if self.published:
            return f"{what} were published by version {self.version.number} from the same input: nothing to do."
        override = f", in production by an override {self.version.override}" if self.version.override else ""
        beside = f", and in the shadow by version {self.shadow.number}" if self.shadow else ""
        without = f" No shadow: {self.no_shadow}" if self.no_shadow else ""
        return f"{what} are to be scored by version {self.version.number}{override}{beside}.{without}"


def plan(job: JobContext, selector: str = "as-of") -> Plan:
    """Resolve the version once, list the fragments, and note the state of the tables that this attempt began with.

    Raises MissingPartition, UnknownVersion and Misconfigured, Unavailable when another one was made for this run
    meanwhile; and when there is nothing new to publish, whatever keeps the spec's database from following what is
    published.
    """
    spec, partition, before = job.spec, job.partition, _kept(job)
    path = predictions_path(job.settings, spec)
    table = open_table(path)  # first: whoever publishes from here on has perhaps seen a newer version, or newer rows
    if table is not None:
        must_have_key(table, path, spec.key)
    lost = _lost(job)
    behind = _left_behind(job)
    registry = job.registry()
    gone = withdrawals(registry.ledger, spec.model)  # before: one that is rolled back from here on is not asked for
    version = resolve(registry, spec.model, selector, partition.start)
    shadow, no_shadow = _shadow(registry, version, partition) if spec.shadow else (None, "")
    step("plan:resolved")
    found = find_input(job.settings, spec, partition)
    files = found.files
    fragments = plan_fragments(files, spec.engine.rows_per_fragment)
    digest = found.digest()
    _is_ours(publication_in(table, path), spec.model)
    same = not lost and _is_published(job, table, (version.digest, version.number, digest, job.code))
    if same and behind is not None:
        raise behind
    _are_usable(job, table, same=same)
    result = Plan(
        id=uuid4().hex[:12],
        model=spec.model,
        spec=spec,
        partition=partition.key,
        version=version,
        fragments=fragments,
        rows=sum(f.rows for f in fragments),
        input_digest=digest,
        code=job.code,
        predictions=Fence.of(table, app_id(partition)),
        published=same,
        files=tuple(files),
        source_version=found.version,
        shadow=shadow,
        no_shadow=no_shadow,
        withdrawn=version.number in gone,
    )
    _keep(job, result, before)
    return result


def _is_published(job: JobContext, table: DeltaTable | None, wanted: tuple[str, int, str, str]) -> bool:
    """Whether readers see this: the version's digest and number, the input's digest, the code's."""
    path = predictions_path(job.settings, job.spec)
    there = publication_in(table, path, job.partition.key)
    if table is None or there is None or (there.digest, there.version, there.input_digest, there.code) != wanted:
        return False
    if altered := Alterations(table, path, newest_first(table, path)).of(there):
        log.warning("%s %s is published anew: %s", job.spec.model, job.partition, altered)
    return not altered


def _are_usable(job: JobContext, predictions: DeltaTable | None, *, same: bool) -> None:
    """Raise Misconfigured when a table refuses what would be published, before anything is scored.

    When it is the same as is there, only if nobody could read it.
    """
    path, beside = predictions_path(job.settings, job.spec), rejected_path(job.settings, job.spec)
    for table, where, column in ((predictions, path, "score"), (open_table(beside), beside, "reason")):
        if table is not None and same:
            must_be_supported(table, where)
        elif table is not None:
            must_be_writable(table, where, [*job.spec.key, column])


def _kept(job: JobContext) -> bytes | None:
    """The plan that this run has, as it lies on the disk."""
    try:
        return job.file("plan").read_bytes()
    except FileNotFoundError:
        return None


def _keep(job: JobContext, result: Plan, before: bytes | None) -> None:
    """Make it the run's plan, unless another one was made since, or what it rests on was changed."""
    if code_digest(job.settings.models, result.model) != job.code:
        raise Unavailable(
            f"The spec of {result.model}, its pipeline or Lamplighter itself was changed while {result.partition} was "
            f"planned: run plan again."
        )
    if _kept(job) != before:
        raise Unavailable(
            f"Another plan was made for the run {job.run!r} of {result.model} {result.partition} meanwhile: run plan "
            f"again, and give runs of several people names of their own (--run)."
        )
    job.keep("plan", result)
    step("plan:kept")


def _lost(job: JobContext) -> bool:
    """Whether what was rejected before is lost, which a new publication mends."""
    try:
        follow(job)
    except Rejected as error:
        log.warning("%s %s is to be published anew: %s", job.spec.model, job.partition, error)
        return True
    return False


def _left_behind(job: JobContext) -> LamplighterError | None:
    """Why the database cannot follow what is published; a new publication goes on, as it may be what mends that."""
    try:
        follow_beyond(job)
    except LamplighterError as error:
        log.warning("What was published before is not in the database: %s", error)
        return error
    return None


def _shadow(registry: Registry, version: Version, partition: Partition) -> tuple[Version | None, str]:
    """The version in staging, unless it is the one in production; or why there is none: production does not wait."""
    try:
        found = challenger(registry, version.model, partition.start)
    except LamplighterError as error:
        return None, str(error)
    return (None, f"{found} scores already.") if found.number == version.number else (found, "")


def _is_ours(newest: Publication | None, model: str) -> None:
    if newest is not None and newest.model != model:
        raise Misconfigured(
            f"output.table of {model} is the table of {newest.model} too: give each model a table of its own."
        )


def plan_fragments(files: Sequence[SourceFile], rows_per_fragment: int) -> tuple[Fragment, ...]:
    """Neighbouring row groups of each file, put together up to about `rows_per_fragment` rows, without empty ones."""
    fragments: list[Fragment] = []
    for file in files:
        groups: list[int] = []
        rows = 0
        for number, size in enumerate(file.row_groups):
            if groups and rows + size > rows_per_fragment:
                fragments.append(Fragment(len(fragments), file.path, tuple(groups), rows))
                groups, rows = [], 0
            if size:
                groups.append(number)
                rows += size
        if groups:
            fragments.append(Fragment(len(fragments), file.path, tuple(groups), rows))
    return tuple(fragments)
