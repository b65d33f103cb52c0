"""What a backfill would do: the state of each partition of a range, what it would take, and what would change."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median
from typing import TYPE_CHECKING

from jobs.as_published import AsPublished
from jobs.errors import LamplighterError, Misconfigured, MissingFile, MissingPartition, Unavailable
from jobs.inputs import Input, find_input
from jobs.schedule import PartitionSchedule
from jobs.spec_file import code_digest, load_spec
from jobs.unfinished import unfinished
from model_registry.resolution import Selector, named, resolve

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.table import Publication
    from model_registry.promotion import Registry
    from model_registry.store import Version

MEASURED = 30
LONGEST = 40_000
LAST_YEAR = 9998


class State(StrEnum):
    """How a partition stands, compared with what a scoring run would publish now."""

    missing = "missing"
    failed = "failed"
    stale_model = "stale-model"
    stale_input = "stale-input"
    stale_code = "stale-code"
    current = "current"
    no_input = "no-input"
    refused = "refused"

    @property
    def words(self) -> str:
        """The state for a person."""
        return "no input yet" if self is State.no_input else self.value.replace("-", " ")


TO_DO = (State.missing, State.failed, State.stale_model, State.stale_input)  # other code alone restates on request only


@dataclass(frozen=True)
class PlannedPartition:
    """A partition of a backfill. `why` says what would change, or why nothing can; `seconds` are expected."""

    partition: str
    state: State
    why: str
    rows: int = 0
    version: int | None = None
    seconds: float | None = None
    chosen: bool = False


@dataclass(frozen=True)
class BackfillPlan:
    """The partitions of a range, oldest first; those that are `chosen` are what a run hands over."""

    model: str
    selector: str
    partitions: tuple[PlannedPartition, ...]
    seconds_per_row: float | None
    measured: int

    @property
    def chosen(self) -> tuple[PlannedPartition, ...]:
        """The partitions that are to be scored."""
        return tuple(p for p in self.partitions if p.chosen)

    @property
    def rows(self) -> int:
        """Their rows."""
        return sum(p.rows for p in self.chosen)

    @property
    def seconds(self) -> float | None:
        """How long they take one after the other; None when nothing was measured yet."""
        return None if self.seconds_per_row is None else self.seconds_per_row * self.rows

    def sentence(self) -> str:
        """The plan for a person."""
        counts = {state: sum(p.state is state for p in self.partitions) for state in State}
        found = ", ".join(f"{count} {state.words}" for state, count in counts.items() if count)
        said = f"{self.model}: of {len(self.partitions)} partitions {found}."
        if not self.chosen:
            return f"{said} Nothing is to be scored."
        many = len(self.chosen)
        what = f"{many} partition{' is' if many == 1 else 's are'} to be scored, {self.rows:,} rows"
        if self.seconds is None:
            return f"{said} {what}; how long that takes is not known, as nothing was measured yet."
        rate = f"{1 / self.seconds_per_row:,.0f} rows/s" if self.seconds_per_row else "no time"
        long = f"about {in_time(self.seconds)} one after the other ({rate}, measured {self.measured} times)"
        return f"{said} {what}, {long}."


def plan_backfill(
    settings: Settings,
    registry: Registry,
    model: str,
    first: str,
    last: str,
    selector: str = "as-of",
    only: Collection[State] = TO_DO,
) -> BackfillPlan:
    """Compare what is published of the partitions `first` to `last` with what the selector's version would publish.

    Nothing is scored. Rows come from metadata; the input of published partitions is read once, for its digest. Raises
    InvalidSpec, Misconfigured, and UnknownVersion for a selector that names none; a version that the leak guard refuses
    for a partition is a state of that partition.
    """
    spec = load_spec(settings.models, model)
    wanted = partitions_between(spec, first, last)
    registry.settle(model)
    if selector not in {Selector.AS_OF, Selector.PRODUCTION}:
        named(registry, model, selector)  # or every partition would be refused, and the plan be a success
    seen = AsPublished(settings, spec)
    past = seen.publications
    rate, measured = throughput(past)
    look = _Look(
        datetime.now(UTC),
        settings,
        registry,
        spec,
        selector,
        {p.partition: p for p in past},
        rate,
        frozenset(only),
        seen,
    )
    return BackfillPlan(model, selector, tuple(look.at(partition) for partition in wanted), rate, measured)


def partitions_between(spec: ModelSpec, first: str, last: str) -> tuple[Partition, ...]:
    """The partitions of a range, both ends included. Raises Misconfigured when there are none, or far too many."""
    calendar = spec.source.calendar
    begin, end = calendar.parse(first), calendar.parse(last)
    if end.end.year > LAST_YEAR:
        raise Misconfigured(f"--to {last} is at the end of time: take an earlier one.")
    if end.start < begin.start:
        raise Misconfigured(f"--from {first} is after --to {last}: exchange them.")
    if (end.end - begin.start) / (begin.end - begin.start) > LONGEST:
        raise Misconfigured(f"{first} to {last} are more than {LONGEST:,} partitions: take a shorter range.")
    return calendar.between(begin, end)


def throughput(past: Sequence[Publication]) -> tuple[float | None, int]:
    """Seconds a row, as the median over the newest publications that were measured, and how many those were.

    Publications on another engine than the newest one's are not counted.
    """
    found = [p for p in past if p.seconds is not None and p.rows_in]
    found = [p for p in found if p.engine == found[-1].engine][-MEASURED:]
    return (median(float(p.seconds or 0) / p.rows_in for p in found), len(found)) if found else (None, 0)


def in_time(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5_400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class _Look:
    """What a look at each partition needs."""

    now: datetime
    settings: Settings
    registry: Registry
    spec: ModelSpec
    selector: str
    published: Mapping[str, Publication]
    rate: float | None
    only: frozenset[State]
    seen: AsPublished

    def at(self, partition: Partition) -> PlannedPartition:
        there = self.published.get(partition.key)
        schedule = self.spec.schedules.score
        if schedule is not None and not PartitionSchedule.of(self.spec, schedule).is_due(partition, self.now):
            said = (
                f"It has not {'ended' if schedule.partition == 'ended' else 'begun'} yet, and is left to the schedule."
            )
            return PlannedPartition(partition.key, State.no_input, said)
        try:
            found = find_input(self.settings, self.spec, partition)
        except MissingPartition as error:
            kept = f" What version {there.version} published stays." if there else ""
            return PlannedPartition(partition.key, State.no_input, f"{error}{kept}")
        except MissingFile as error:
            return PlannedPartition(partition.key, State.refused, str(error))
        except Unavailable:
            raise
        except LamplighterError as error:
            return PlannedPartition(partition.key, State.refused, str(error))
        rows = found.rows
        try:
            version = resolve(self.registry, self.spec.model, self.selector, partition.start)
        except Unavailable:
            raise
        except LamplighterError as error:
            return PlannedPartition(partition.key, State.refused, str(error), rows)
        states, why = self._compared(partition, found, version, there)
        seconds = None if self.rate is None else self.rate * rows
        chosen = not self.only.isdisjoint(states)
        return PlannedPartition(partition.key, states[0], why, rows, version.number, seconds, chosen)

    def _compared(
        self, partition: Partition, found: Input, version: Version, there: Publication | None
    ) -> tuple[tuple[State, ...], str]:
        """All that there is to say of a partition that could be scored, the state that is shown first; and why."""
        failed = unfinished(self.settings, self.spec.model, partition.key)
        if there is None:
            return ((State.failed, State.missing), failed) if failed else ((State.missing,), "It was never published.")
        if altered := self.seen.why_not(there) or self.seen.why_not_in_database(there):
            return (State.missing,), altered
        changed: dict[State, str] = {}
        if (there.version, there.digest) != (version.number, version.digest):
            changed[State.stale_model] = f"version {there.version} is to be replaced by version {version.number}"
        if there.input_digest != found.digest():
            changed[State.stale_input] = f"the input was delivered anew ({there.rows_in:,} rows, now {found.rows:,})"
        if there.code != code_digest(self.settings.models, self.spec.model):
            changed[State.stale_code] = "the spec, the pipeline or Lamplighter itself has changed"
        if not changed:
            return (State.current,), f"Version {there.version} published it from this input."
        told = "; ".join(changed.values())
        told = told[0].upper() + told[1:] + "."
        return ((State.failed, *changed), f"{told} {failed}") if failed else (tuple(changed), told)
