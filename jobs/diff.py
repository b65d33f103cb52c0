"""What a restatement changed, or would change: two publications of one partition, or a shadow, row by row.

Both sides are read in batches and put by the hash of their keys into buckets on disk; then bucket after bucket is
joined (a Grace hash join: Kitsuregawa, Tanaka, Moto-Oka 1983). In memory are one bucket of each side, eight bytes for
each changed row, and the keys of the rejected rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.diff_buckets import Bucketed, buckets_for, spread
from jobs.errors import Misconfigured
from jobs.key_join import places_among
from jobs.own_files import files_kept
from jobs.storage import Place, open_parquet
from jobs.table import (
    PARTITION,
    Publication,
    files_of,
    open_table,
    predictions_path,
    publications,
    rejected_path,
    shadow_path,
)
from jobs.table_state import must_have_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from jobs.context import JobContext

BINS = 20
MOVERS = 10
QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


@dataclass(frozen=True)
class Histogram:
    """Counts of values between neighbouring `edges` (one more than counts)."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Mover:
    """A row and its scores on both sides. `key` holds the values of the key's columns, in their order."""

    key: tuple[str, ...]
    before: float
    after: float

    @property
    def change(self) -> float:
        """By how much the score moved."""
        return self.after - self.before


@dataclass(frozen=True)
class Diff:
    """What changed from one publication of a partition to another.

    Rows are matched by their key; `rows_changed` counts those whose score is another number, to the last bit. The
    changes (after minus before) are of these rows; `quantiles` holds them by their share.
    """

    before: Publication
    after: Publication
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    rows_changed: int
    rows_same: int
    scores_before: Histogram
    scores_after: Histogram
    changes: Histogram | None
    quantiles: dict[str, float]
    movers: tuple[Mover, ...]
    newly_rejected: dict[str, int]
    no_longer_rejected: dict[str, int]
    shadow: bool = False

    @property
    def sides(self) -> tuple[str, str]:
        """What the two sides are called."""
        return ("production", "shadow") if self.shadow else ("before", "after")

    def sentence(self) -> str:
        """The difference for a person."""
        b, a = self.before, self.after
        if self.shadow:
            return (
                f"{a.model} {a.partition}, version {b.version} in production and version {a.version} in the shadow: "
                f"{self.rows_changed:,} rows have another score, {self.rows_same:,} the same."
            )
        what = f"{a.model} {a.partition}, table version {b.table_version} to {a.table_version}"
        if not (self.rows_added or self.rows_removed or self.rows_changed):
            return f"{what}: no row was added, removed or changed."
        why = [f"version {b.version} to {a.version}"] if (b.version, b.digest) != (a.version, a.digest) else []
        why += ["other input"] if b.input_digest != a.input_digest else []
        why += ["other code"] if b.code != a.code else []
        return (
            f"{what} ({', '.join(why) or 'same version, input and code'}): {self.rows_added:,} rows added, "
            f"{self.rows_removed:,} removed, {self.rows_changed:,} changed, {self.rows_same:,} the same."
        )


def diff(job: JobContext, before: int | None = None, after: int | None = None, *, shadow: bool = False) -> Diff:
    """Compare what readers saw of a partition at two versions of the table; the last two publications unless given.

    With `shadow` the sides are what readers saw (at `after`), and what the version in staging made of the same rows.
    Raises Misconfigured when the partition was not published by then, or only once, or without a shadow.
    """
    sides = _beside(job, after) if shadow else _sides(job, before, after)
    with files_kept(predictions_path(job.settings, job.spec), job.spec.model, job.partition.key):
        return _diff(job, *sides, shadow=shadow)


def _diff(job: JobContext, old: Publication, new: Publication, *, shadow: bool) -> Diff:
    path = predictions_path(job.settings, job.spec)
    key = job.spec.key
    files = _files(path, old, key), _shadow_files(job, old) if shadow else _files(path, new, key)
    buckets = buckets_for(max(old.rows_scored, new.rows_scored))
    sides = [spread(side, job.spec.key, buckets) for side in files]
    found = _compare(sides[0], sides[1], job.spec.key)
    low, high = min(s.low for s in sides), max(s.high for s in sides)
    scores = [_histogram(side.scores(), low, high) for side in sides]
    newly, no_longer = _rejected(job, old, new)
    changes = np.concatenate(found.changes) if found.changes else np.empty(0)
    return Diff(
        before=old,
        after=new,
        rows_before=sides[0].rows,
        rows_after=sides[1].rows,
        rows_added=found.added,
        rows_removed=found.removed,
        rows_changed=len(changes),
        rows_same=found.same,
        scores_before=scores[0],
        scores_after=scores[1],
        changes=_histogram([changes], float(changes.min()), float(changes.max())) if len(changes) else None,
        quantiles={f"{q:g}": float(np.quantile(changes, q)) for q in QUANTILES} if len(changes) else {},
        movers=tuple(found.movers),
        newly_rejected=newly,
        no_longer_rejected=no_longer,
        shadow=shadow,
    )


def _sides(job: JobContext, before: int | None, after: int | None) -> tuple[Publication, Publication]:
    """The publications that readers saw at two versions of the table."""
    found, what = _published(job), f"{job.spec.model} {job.partition.key}"
    new = _seen(found, after, what)
    old = _seen(found, new.table_version - 1 if before is None and new.table_version else before, what)
    return old, new


def _beside(job: JobContext, at: int | None) -> tuple[Publication, Publication]:
    """What readers saw at a version of the table, and the same as the version in staging would have published it."""
    what = f"{job.spec.model} {job.partition.key}"
    seen = _seen(_published(job), at, what)
    if seen.shadow is None:
        raise Misconfigured(
            f"{what} was published without a shadow: with `shadow: true` in the spec, the version that is in staging "
            f"when a partition is planned scores it, too."
        )
    return seen, replace(seen, version=seen.shadow.version, digest=seen.shadow.digest, score_mean=None)


def _published(job: JobContext) -> list[Publication]:
    model, partition = job.spec.model, job.partition.key
    found = [p for p in publications(predictions_path(job.settings, job.spec)) if p.partition == partition]
    if not found:
        raise Misconfigured(f"{model} {partition} was never published: there is nothing to compare.")
    return found


def _seen(found: Sequence[Publication], at: int | None, what: str) -> Publication:
    newest = found[-1].table_version or 0
    if at is not None and at > newest:
        raise Misconfigured(f"{what} was not published after table version {newest}: name that, or an earlier one.")
    seen = [p for p in found if at is None or (p.table_version or 0) <= at]
    if not seen:
        versions = ", ".join(str(p.table_version) for p in found)
        raise Misconfigured(f"{what} was not published before table version {versions}: there is nothing to compare.")
    return seen[-1]


def _files(path: Place, side: Publication, key: Sequence[str]) -> list[Place]:
    table = open_table(path, side.table_version)
    if table is None:
        return []
    must_have_key(table, path, key)
    return files_of(table, path, PARTITION, side.partition)


def _shadow_files(job: JobContext, side: Publication) -> list[Place]:
    path = shadow_path(job.settings, job.spec)
    return [path / file.path for file in (side.shadow.files if side.shadow else ())]


@dataclass
class _Found:
    """What the join of all buckets came to."""

    added: int
    removed: int
    same: int
    changes: list[np.ndarray[Any, np.dtype[np.float64]]]
    movers: list[Mover]


def _compare(before: Bucketed, after: Bucketed, key: Sequence[str]) -> _Found:
    found = _Found(0, 0, 0, [], [])
    for bucket in range(len(before.buckets)):
        _join(before.table(bucket), after.table(bucket), list(key), found)
    return found


def _join(old: pa.Table, new: pa.Table, key: list[str], found: _Found) -> None:
    places = places_among(old.select(key), new.select(key))
    there = places >= 0
    both = int(there.sum())
    found.added, found.removed = found.added + len(new) - both, found.removed + len(old) - both
    keys = old.select(key).filter(pa.array(there))
    was, now = old["score"].to_numpy()[there], new["score"].to_numpy()[places[there]]
    moved = was.view(np.int64) != now.view(np.int64)
    found.same += int((~moved).sum())
    found.changes.append((now - was)[moved])
    largest = np.argsort(-np.abs(now - was), kind="stable")[:MOVERS]
    rows = [Mover(_shown(keys, n), float(was[n]), float(now[n])) for n in largest if moved[n]]
    found.movers = sorted(found.movers + rows, key=lambda mover: (-abs(mover.change), mover.key))[:MOVERS]


def _shown(keys: pa.Table, row: int) -> tuple[str, ...]:
    """A key as texts."""
    values = keys.slice(row, 1)
    try:
        return tuple(str(column[0].as_py()) for column in values.columns)
    except (ValueError, OverflowError):  # a day that no calendar of Python has
        return tuple(str(column.cast(pa.string())[0].as_py()) for column in values.columns)


def _histogram(parts: Iterable[np.ndarray[Any, np.dtype[np.float64]]], low: float, high: float) -> Histogram:
    if not low <= high:  # no row on either side
        return Histogram((0.0, 1.0), (0,))
    edges = np.linspace(low, high if high > low else low + 1e-9, BINS + 1)
    counts = np.zeros(BINS, dtype=np.int64)
    for part in parts:
        counts += np.histogram(part, edges)[0]
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()))


def _rejected(job: JobContext, old: Publication, new: Publication) -> tuple[dict[str, int], dict[str, int]]:
    """By reason: rows that are rejected after and were not before, and the other way round."""
    was, now = (_rejected_rows(job, side) for side in (old, new))
    return _by_reason(now - was), _by_reason(was - now)


def _rejected_rows(job: JobContext, side: Publication) -> Counter[tuple[Any, ...]]:
    names = [*job.spec.key, "reason"]
    rows: Counter[tuple[Any, ...]] = Counter()
    for path in _rejected_files(job, side):
        columns = open_parquet(path).read(columns=names).select(names)
        rows.update(zip(*(columns[column].to_pylist() for column in names), strict=True))
    return rows


def _rejected_files(job: JobContext, side: Publication) -> list[Place]:
    """The files that the publication lists, or those of the table that it names, as the first release did."""
    path = rejected_path(job.settings, job.spec)
    if side.rejected_files is not None:
        return [path / file.path for file in side.rejected_files]
    table = open_table(path, side.rejected_table_version) if side.rejected_table_version is not None else None
    return [] if table is None else files_of(table, path, PARTITION, side.partition)


def _by_reason(rows: Counter[tuple[Any, ...]]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row, count in rows.items():
        counts[str(row[-1])] += count
    return dict(counts.most_common())
