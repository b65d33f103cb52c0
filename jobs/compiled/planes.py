"""Trees of up to 256 leaves as the leaf planes of `add_planes`, over columns binned by the trees' thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.compiled.kernels.numbers import bin_numbers, take_bins
from jobs.compiled.kernels.trees import BLOCK, FOUR, PLANES, add_planes, range_leaves

if TYPE_CHECKING:
    from jobs.compiled.columns import Batch
    from jobs.compiled.form import Columns, Doubles, Flags, Integers, Trees

MOST_LEAVES = 8 * PLANES
MOST_BINS = 1 << 25  # at once: every split into sets is a column of its own
Bins = np.ndarray[Any, Any]
Whole = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class BinColumn:
    """A column as bins: where NaN goes, and the split into sets that it stands for (or -1)."""

    column: int
    null_left: bool
    split: int
    thresholds: Doubles


class Planes:
    """The trees, ready for `add_planes`."""

    def __init__(self, trees: Trees, columns: Columns) -> None:
        begin, count = np.empty((2, len(trees.feature)), np.int32)
        range_leaves(trees.first, trees.feature, trees.left, trees.right, begin, count)
        thresholds = _thresholds(trees)
        small = max(map(len, thresholds), default=0) < 255
        self.type: type[np.uint8 | np.uint16] = np.uint8 if small else np.uint16
        self._columns = columns
        self._single = trees.single
        self._output = trees.output
        self._sets = trees.sets
        inner = np.flatnonzero(trees.feature >= 0)
        kinds, which = asked_columns(trees.feature[inner], trees.null_left[inner], trees.split[inner])
        self._bins = [
            BinColumn(int(trees.columns[place]), null_left, split, thresholds[place])
            for place, null_left, split in kinds
        ]
        limits = _limits(trees, thresholds, inner).astype(self.type)
        tree = (np.searchsorted(trees.first, inner, side="right") - 1).astype(np.int64)
        cleared = (begin[inner].astype(np.int64), count[trees.left[inner]].astype(np.int64))
        self._operations = _operations(tree, cleared, which, limits, len(trees.output))
        self._leaf = np.concatenate([[0], np.cumsum(count[trees.first[:-1]])]).astype(np.int32)
        leaves = np.flatnonzero(trees.feature < 0)
        at = self._leaf[np.searchsorted(trees.first, leaves, side="right") - 1] + begin[leaves]
        self._value = np.empty(len(leaves))
        self._value[at] = trees.value[leaves]
        self._tables = [self._table(column) for column in self._bins]

    @staticmethod
    def fit(trees: Trees, columns: Columns) -> bool:
        """Whether no tree has more than MOST_LEAVES leaves, and no column more thresholds than bins have numbers."""
        begin, count = np.empty((2, len(trees.feature)), np.int32)
        range_leaves(trees.first, trees.feature, trees.left, trees.right, begin, count)
        if (count > MOST_LEAVES).any():
            return False
        few = all(len(values) < 65_535 for values in _thresholds(trees))
        numbers = trees.columns[trees.feature[trees.split >= 0]]
        return bool(few and (columns.lookup[numbers] >= 0).all())

    def add(self, batch: Batch, total: Doubles) -> None:
        """Add the trees to total, shape (outputs, rows)."""
        first, column, limit, keep = self._operations
        at_once = max(BLOCK, MOST_BINS // max(len(self._bins), 1))
        for start in range(0, batch.rows, at_once):
            rows = slice(start, min(start + at_once, batch.rows))
            bins, place = self._binned(batch, rows)
            part = np.ascontiguousarray(total[:, rows])
            value = self._value.astype(total.dtype, copy=False)
            add_planes(bins, place, first, column, limit, keep, value, self._leaf, self._output, part)
            total[:, rows] = part

    def _binned(self, batch: Batch, rows: slice) -> tuple[Bins, np.ndarray[Any, np.dtype[np.int32]]]:
        """The bins, one row for each column; a column without NaN stands for both places where NaN could go."""
        bins = np.empty((max(len(self._bins), 1), rows.stop - rows.start), self.type)
        place = np.arange(max(len(self._bins), 1), dtype=np.int32)
        top = np.iinfo(self.type).max  # of NaN alone, as there are fewer thresholds
        done: dict[int, tuple[int, bool]] = {}  # where NaN is the top, and whether there are any
        for number, (column, table) in enumerate(zip(self._bins, self._tables, strict=True)):
            if table is not None:
                take_bins(batch.codes(int(self._columns.lookup[column.column]))[rows], table, bins[number])
            elif column.column not in done:
                null = self.type(0 if column.null_left else top)
                values = batch.values(column.column)[rows]
                nulls = bin_numbers(values, column.thresholds, self._single, null, bins[number])
                done[column.column] = (number, nulls > 0)
            elif done[column.column][1]:
                other = bins[done[column.column][0]]
                bins[number] = np.where(other == top, 0, other)
            else:
                place[number] = done[column.column][0]
        return bins, place

    def _table(self, column: BinColumn) -> Bins | None:
        """The bin of each code of a looked up column; None for a number."""
        if self._columns.lookup[column.column] < 0:
            return None
        values = self._columns.table(column.column)
        bins = np.empty(len(values), self.type)
        if column.split < 0:
            null = self.type(0 if column.null_left else np.iinfo(self.type).max)
            bin_numbers(values, column.thresholds, self._single, null, bins)
        else:
            bins[:] = ~left_by_set(self._sets[column.split], values, column.null_left)
        return bins


def _of_columns(trees: Trees, nodes: Whole) -> list[Whole]:
    """Those of the nodes that compare with a threshold, for each column."""
    nodes = nodes[trees.split[nodes] < 0]
    nodes = nodes[np.argsort(trees.feature[nodes], kind="stable")]
    return np.split(nodes, np.searchsorted(trees.feature[nodes], np.arange(1, len(trees.columns))))


def _thresholds(trees: Trees) -> list[Doubles]:
    """The thresholds of each column, sorted, each once."""
    inner = np.flatnonzero(trees.feature >= 0)
    return [np.unique(trees.threshold[nodes]) for nodes in _of_columns(trees, inner)]


def asked_columns(feature: Integers, null_left: Flags, split: Integers) -> tuple[list[tuple[int, bool, int]], Whole]:
    """The columns that nodes ask for, each once, as (feature, null_left, split), and which of them each node has."""
    asked = np.stack([feature, null_left, split], axis=1).astype(np.int64)
    kinds, which = np.unique(asked, axis=0, return_inverse=True)
    return [(int(feature), bool(null_left), int(split)) for feature, null_left, split in kinds], which.reshape(-1)


def left_by_set(members: Flags, values: Any, null_left: Any) -> Flags:
    """Whether each category is one of the members, shape (256,), that go left; below zero and NaN are nulls."""
    known = values >= 0
    return np.where(known, members[np.where(known, values, 0).astype(np.uint8)], null_left)


def _limits(trees: Trees, thresholds: list[Doubles], inner: Whole) -> Whole:
    """The highest bin that goes left at each inner node."""
    limits = np.zeros(len(trees.feature), np.int64)
    for nodes, values in zip(_of_columns(trees, inner), thresholds, strict=True):
        limits[nodes] = np.searchsorted(values, trees.threshold[nodes])
    return limits[inner]


def _operations(
    tree: np.ndarray[Any, Any],
    cleared: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    which: np.ndarray[Any, Any],
    limits: Bins,
    trees: int,
) -> tuple[Bins, Bins, Bins, Bins]:
    """`first`, `column`, `limit` and `keep` of `add_planes`: each node clears a range of leaves, plane by plane."""
    begin, size = cleared
    group, column, limit, keep = [], [], [], []
    for plane in range(PLANES):
        low = np.clip(begin - 8 * plane, 0, 8)
        high = np.clip(begin + size - 8 * plane, 0, 8)
        does = high > low
        group.append(PLANES * tree[does] + plane)
        column.append(which[does])
        limit.append(limits[does])
        keep.append(255 - ((1 << high[does]) - (1 << low[does])))
    groups = np.concatenate(group)
    counts = np.bincount(groups, minlength=PLANES * trees)
    first = np.concatenate([[0], np.cumsum((counts + FOUR - 1) // FOUR * FOUR)])
    order = np.argsort(groups, kind="stable")
    sorted_groups = groups[order]
    at = first[sorted_groups] + np.arange(len(order)) - np.concatenate([[0], np.cumsum(counts)])[sorted_groups]
    columns, bounds, kept = np.zeros(first[-1], np.int32), np.zeros(first[-1], limits.dtype), np.full(first[-1], 255)
    columns[at] = np.concatenate(column)[order]
    bounds[at] = np.concatenate(limit)[order]
    kept[at] = np.concatenate(keep)[order]
    return first.astype(np.int32), columns, bounds, kept.astype(np.uint8)
