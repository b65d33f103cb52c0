"""Trees of any size, each row down each tree; what an encoder makes of a text is never laid out column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jobs.compiled.kernels.trees import LEAF, add_walks

if TYPE_CHECKING:
    from jobs.compiled.columns import Batch
    from jobs.compiled.form import Columns, Doubles, Flags, Integers, Trees

FEW = 4
"""Up to so many codes with a value of their own, a node asks for the code; a column with more is laid out."""


class Walks:
    """The trees, ready for `add_walks`: memory grows with the features, however many columns encoders make of them."""

    def __init__(self, trees: Trees, columns: Columns) -> None:
        self._trees = trees
        asked = np.unique(trees.feature[trees.feature >= 0])
        sizes = np.diff(columns.first)[trees.columns]
        by_code = (columns.lookup[trees.columns] >= 0) & (sizes <= FEW)
        self._laid_out = trees.columns[asked[~by_code[asked]]]
        self._lookups = np.unique(columns.lookup[trees.columns[asked[by_code[asked]]]])
        places = np.full(len(trees.columns) + 1, LEAF, np.int32)  # the last one is that of leaves
        places[asked[~by_code[asked]]] = np.arange(len(self._laid_out))
        coded = asked[by_code[asked]]
        places[coded] = -2 - np.searchsorted(self._lookups, columns.lookup[trees.columns[coded]])
        self._source = places[trees.feature]
        self._others, self._begin, self._code, self._goes = _decided(trees, columns, self._source)

    def add(self, batch: Batch, total: Doubles) -> None:
        """Add the trees to total, shape (outputs, rows)."""
        trees = self._trees
        numbers = np.empty((len(self._laid_out), batch.rows))
        for place, column in enumerate(self._laid_out):
            numbers[place] = _rounded(batch.values(int(column)), single=trees.single)
        codes = np.empty((len(self._lookups), batch.rows), np.int32)
        for place, lookup in enumerate(self._lookups):
            codes[place] = batch.codes(int(lookup))
        of_codes = (self._source, self._others, self._begin, self._code, self._goes)
        nodes = (trees.threshold, trees.left, trees.right, trees.null_left, trees.split, trees.sets)
        value = trees.value.astype(total.dtype, copy=False)
        add_walks(numbers, codes, *of_codes, trees.first, trees.output, *nodes, value, total)


def _decided(trees: Trees, columns: Columns, source: Integers) -> tuple[Flags, Integers, Integers, Flags]:
    """Where each node that asks for a code sends others, and those with a value of their own: `begin`, codes, flags."""
    nodes = np.flatnonzero(source < LEAF)
    of_node = trees.columns[trees.feature[nodes]]
    others = np.zeros(len(source), np.bool_)
    others[nodes] = _goes_left(trees, nodes, columns.default[of_node])
    sizes = np.zeros(len(source), np.int64)
    sizes[nodes] = np.diff(columns.first)[of_node]
    begin = np.concatenate([[0], np.cumsum(sizes)])
    owner = np.repeat(nodes, sizes[nodes])
    entry = np.repeat(columns.first[of_node], sizes[nodes]) + np.arange(len(owner)) - begin[owner]
    goes = _goes_left(trees, owner, columns.values[entry])
    return others, begin.astype(np.int32), columns.codes[entry].astype(np.int32), goes


def _goes_left(trees: Trees, nodes: np.ndarray[tuple[int], np.dtype[np.int64]], values: Doubles) -> Flags:
    """Whether each node sends the value of the same place left, as the kernel has it for numbers."""
    values = _rounded(values, single=trees.single)
    left = values <= trees.threshold[nodes]
    by_set = trees.split[nodes] >= 0
    known = by_set & (values >= 0)
    left[known] = trees.sets[trees.split[nodes[known]], values[known].astype(np.uint8)]
    nulls = np.isnan(values) | (by_set & (values < 0))
    left[nulls] = trees.null_left[nodes[nulls]]
    return left


def _rounded(values: Doubles, *, single: bool) -> Doubles:
    return values.astype(np.float32).astype(np.float64) if single else values
