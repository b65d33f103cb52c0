"""Trees of any size, each row down each tree; what an encoder makes of a text is never laid out column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.compiled.kernels.trees import CHILD, EIGHT, FLAG, LEAST, LIMIT, LINK, MOST, SET, add_walks, lay_out
from jobs.compiled.planes import asked_columns, left_by_set

if TYPE_CHECKING:
    from jobs.compiled.columns import Batch
    from jobs.compiled.form import Columns, Doubles, Flags, Trees

ROWS = 8192
VALUES = 1 << 18
"""At most so many rows, and so many values of theirs, are laid out at once: near the processor, beside a tree."""
Whole = np.ndarray[Any, np.dtype[np.int64]]


class Walks:
    """The trees, ready for `add_walks`: memory grows with the features, however many columns encoders make of them.

    A node asks for a number as it is laid out, or, where a column differs for one code alone, as those of one-hot
    encoders do, for the code.
    """

    def __init__(self, trees: Trees, columns: Columns) -> None:
        self._trees = trees
        inner = np.flatnonzero(trees.feature >= 0)
        column = trees.columns[trees.feature[inner]]
        by_code = (columns.lookup[column] >= 0) & (np.diff(columns.first)[column] <= 1)
        by_set = ~by_code & (trees.split[inner] >= 0)
        others, in_sets = inner[~by_code], by_set[~by_code]
        null_left, split = trees.null_left[others] & ~in_sets, np.where(in_sets, 0, -1).astype(np.int32)
        self._laid_out, which = asked_columns(trees.feature[others], null_left, split)  # the sets of a column are one
        self._lookups, code = np.unique(columns.lookup[column[by_code]], return_inverse=True)
        source = np.empty(len(inner), np.int64)
        source[~by_code], source[by_code] = which, len(self._laid_out) + code.reshape(-1)
        limit = np.where(by_set, trees.split[inner], _in_order(trees.threshold[inner]))
        flag, turned = by_set & trees.null_left[inner], np.zeros(len(inner), np.bool_)
        limit[by_code], flag[by_code], turned[by_code] = _by_code(trees, columns, inner[by_code])
        asks = source | by_set.astype(np.int64) << SET | flag.astype(np.int64) << FLAG
        self._nodes, self._leaf = _linked(trees, inner, limit, asks, turned)

    def add(self, batch: Batch, total: Doubles) -> None:
        """Add the trees to total, shape (outputs, rows)."""
        trees, laid_out = self._trees, self._laid_out
        numbers = {place: batch.values(int(trees.columns[place])) for place in {kind[0] for kind in laid_out}}
        codes = [batch.codes(int(lookup)) for lookup in self._lookups]
        width = max(len(laid_out) + len(codes), 1)
        at_once = min(ROWS, max(VALUES // width, EIGHT) // EIGHT * EIGHT)
        values = np.zeros((at_once, width), np.int64)
        leaf = self._leaf.astype(total.dtype, copy=False)
        for start in range(0, batch.rows, at_once):
            rows = slice(start, min(start + at_once, batch.rows))
            size = rows.stop - start
            for number, (place, null_left, split) in enumerate(laid_out):
                if split < 0:
                    null = LEAST if null_left else MOST
                    lay_out(numbers[place][rows], trees.single, null, number, values)
                else:
                    values[:size, number] = _categories(numbers[place][rows])
            for number, found in enumerate(codes, len(laid_out)):
                values[:size, number] = found[rows]
            filled = -(-size // EIGHT) * EIGHT
            part = np.zeros((len(total), filled), total.dtype)
            part[:, :size] = total[:, rows]
            add_walks(values[:filled], self._nodes, trees.sets, trees.first, trees.output, leaf, part)
            total[:, rows] = part[:, :size]


def _categories(values: Doubles) -> Whole:
    """The categories as whole numbers, below zero for a null."""
    known = values >= 0
    return np.where(known, np.where(known, values, 0).astype(np.uint8).astype(np.int64), -1)


def _linked(trees: Trees, inner: Whole, limit: Whole, asks: Whole, turned: Flags) -> tuple[Whole, Doubles]:
    """The nodes and leaves as `add_walks` has them: two children side by side, the right one first where turned."""
    tree = np.searchsorted(trees.first, inner, side="right") - 1
    before = np.searchsorted(inner, trees.first[tree])  # inner nodes of other trees
    child = trees.first[tree] + 1 + 2 * (np.arange(len(inner)) - before)
    place = np.arange(len(trees.feature))  # of each node; that of a root stays
    place[trees.left[inner]] = child + turned
    place[trees.right[inner]] = child + ~turned
    nodes = np.empty((len(place), 2), np.int64)
    nodes[:, LIMIT], nodes[place, LINK] = MOST, place << CHILD
    nodes[place[inner], LIMIT], nodes[place[inner], LINK] = limit, child << CHILD | asks
    leaf = np.zeros(len(place))
    leaf[place] = trees.value
    return nodes, leaf


def _by_code(trees: Trees, columns: Columns, nodes: Whole) -> tuple[Whole, Flags, Flags]:
    """For nodes over columns that differ for one code at most: limit, whether to be equal to it, whether turned."""
    column = trees.columns[trees.feature[nodes]]
    others = _goes_left(trees, nodes, columns.default[column])
    entry = columns.first[column]
    has = columns.first[column + 1] > entry
    limit, own = np.full(len(nodes), MOST), others.copy()
    own[has] = _goes_left(trees, nodes[has], columns.values[entry[has]])
    differs = own != others
    limit[differs] = columns.codes[entry[differs]]
    return limit, differs, ~own


def _goes_left(trees: Trees, nodes: Whole, values: Doubles) -> Flags:
    """Whether each node sends the value of the same place left."""
    values = values.astype(np.float32).astype(np.float64) if trees.single else values
    left = np.where(np.isnan(values), trees.null_left[nodes], values <= trees.threshold[nodes])
    for place in np.flatnonzero(trees.split[nodes] >= 0):
        node = nodes[place]
        left[place] = left_by_set(trees.sets[trees.split[node]], values[place], trees.null_left[node])
    return left


def _in_order(values: Doubles) -> Whole:
    """Whole numbers in the order of the values."""
    found = np.empty((len(values), 1), np.int64)
    lay_out(values, False, 0, 0, found)  # noqa: FBT003 - a kernel's arguments have no names
    return found[:, 0].copy()
