"""Kernels over trees: many rows at a time through leaf planes, or each row down each tree.

Leaf planes are QuickScorer's bitvectors (Lucchese et al., SIGIR 2015) turned on their side: leaf 8 p + b of a tree is
bit b of plane p, one byte a row. A node that sends a row right clears the leaves on its left; the first leaf that is
left over is where the row ends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, int64, void

from jobs.compiled.kernels.compiler import kernel
from jobs.compiled.kernels.numbers import READ, Array

BLOCK = 2048
PLANES = 32
"""At most so many for a tree: the number of a leaf is a byte."""
LIMIT, LINK = 0, 1
CHILD, FLAG, SET, COLUMN = 32, 31, 30, (1 << 30) - 1
EIGHT = 8
LEAST, MOST = -(1 << 63), (1 << 63) - 1
FOUR = 4
"""Operations of a plane are done four at a time; the last ones are filled up with some that clear nothing."""

_PLANES = (
    "void({bins}[:, ::1], int32[::1], int32[::1], int32[::1], {bins}[::1], uint8[::1], {sums}[::1], int32[::1], "
    "int32[::1], {sums}[:, ::1])"
)
_WALKS = "void(int64[:, ::1], int64[:, ::1], boolean[:, ::1], int32[::1], int32[::1], {sums}[::1], {sums}[:, ::1])"
_SUMS = ("float64", "float32")


@kernel(*(_PLANES.format(bins=bins, sums=sums) for bins in ("uint8", "uint16") for sums in _SUMS))
def add_planes(
    bins: Array,
    place: Array,
    first: Array,
    column: Array,
    limit: Array,
    keep: Array,
    value: Array,
    leaf: Array,
    output: Array,
    total: Array,
) -> None:
    """Add the leaf of each tree that a row ends in to total[output[tree], row], in the order of the trees.

    bins: (rows of bins, rows); place[column] is a column's row there. Operation o is limit[o] and keep[o] of column[o]:
    a bin above the limit keeps only these bits. Those of plane p of tree t are first[q]:first[q + 1], a multiple of
    four, where q is PLANES t + p. The values of the leaves of tree t begin at leaf[t].
    """
    rows = bins.shape[1]
    state = np.empty(BLOCK, np.uint8)
    lowest = np.empty(BLOCK, np.uint8)
    index = np.empty(BLOCK, np.uint8)
    everything = np.uint8(255)
    for start in range(0, rows, BLOCK):
        size = min(BLOCK, rows - start)
        for tree in range(leaf.shape[0] - 1):
            planes = (leaf[tree + 1] - leaf[tree] + 7) // 8
            for plane in range(planes):
                for row in range(size):
                    state[row] = everything
                for o in range(first[PLANES * tree + plane], first[PLANES * tree + plane + 1], FOUR):
                    bins0 = bins[place[column[o]], start : start + size]
                    bins1 = bins[place[column[o + 1]], start : start + size]
                    bins2 = bins[place[column[o + 2]], start : start + size]
                    bins3 = bins[place[column[o + 3]], start : start + size]
                    limit0, limit1, limit2, limit3 = limit[o], limit[o + 1], limit[o + 2], limit[o + 3]
                    keep0, keep1, keep2, keep3 = keep[o], keep[o + 1], keep[o + 2], keep[o + 3]
                    for row in range(size):
                        state[row] &= (
                            (keep0 if bins0[row] > limit0 else everything)
                            & (keep1 if bins1[row] > limit1 else everything)
                            & (keep2 if bins2[row] > limit2 else everything)
                            & (keep3 if bins3[row] > limit3 else everything)
                        )
                if plane == 0:
                    for row in range(size):
                        lowest[row] = state[row]
                        index[row] = 0
                else:
                    for row in range(size):
                        before, here, found = lowest[row], state[row], index[row]  # all read first, to be vectorised
                        index[row] = np.uint8(8 * plane) if before == 0 else found
                        lowest[row] = here if before == 0 else before
            for row in range(size):
                before, found = lowest[row], index[row]
                bit = before & (~before + np.uint8(1))
                found += np.uint8(1) if bit & 0xAA else np.uint8(0)
                found += np.uint8(2) if bit & 0xCC else np.uint8(0)
                found += np.uint8(4) if bit & 0xF0 else np.uint8(0)
                index[row] = found
            leaves = value[leaf[tree] : leaf[tree + 1]]
            sums = total[output[tree], start : start + size]
            for row in range(size):
                sums[row] += leaves[index[row]]


@kernel("int64(int64[:, ::1], int64[:, ::1], boolean[:, ::1], int64, int64)")
def _next(values: Array, nodes: Array, sets: Array, node: Any, row: int) -> Any:
    link = nodes[node, LINK]
    value = values[row, link & COLUMN]
    limit = nodes[node, LIMIT]
    flag = (link >> FLAG) & 1
    if (link >> SET) & 1:
        first = flag if value < 0 else np.int64(sets[limit, value])
        return (link >> CHILD) + 1 - first
    return (link >> CHILD) + ((value > limit) | ((value < limit) & flag))


@kernel(*(_WALKS.format(sums=sums) for sums in _SUMS))
def add_walks(values: Array, nodes: Array, sets: Array, first: Array, output: Array, leaf: Array, total: Array) -> None:
    """Add the leaf of each tree that a row ends in to total[output[tree], row], for trees of any size.

    values: (rows, columns), rows a multiple of EIGHT. Node n is nodes[n]: its LIMIT, and its LINK, which is where its
    two children are from bit CHILD on, then the bits FLAG and SET, then a column. A row whose value there is at most
    the limit, or with the flag is the limit, goes to the first child, any other to the second; with SET a category goes
    by sets[limit], and a null, which is below zero, by the flag. Leaf n adds leaf[n], and is its own first child, with
    a limit that no value is above. The root of tree t is first[t].

    Eight rows go down a tree at once: what a row asks for next is only known when its last answer is there, and the
    processor waits for eight of them together.
    """
    for tree in range(output.shape[0]):
        sums = total[output[tree]]
        for row in range(0, values.shape[0], EIGHT):
            a = b = c = d = e = f = g = h = np.int64(first[tree])
            while True:
                was_a, was_b, was_c, was_d, was_e, was_f, was_g, was_h = a, b, c, d, e, f, g, h
                a, b = _next(values, nodes, sets, a, row), _next(values, nodes, sets, b, row + 1)
                c, d = _next(values, nodes, sets, c, row + 2), _next(values, nodes, sets, d, row + 3)
                e, f = _next(values, nodes, sets, e, row + 4), _next(values, nodes, sets, f, row + 5)
                g, h = _next(values, nodes, sets, g, row + 6), _next(values, nodes, sets, h, row + 7)
                if (
                    ((a == was_a) & (b == was_b) & (c == was_c) & (d == was_d))
                    & ((e == was_e) & (f == was_f) & (g == was_g) & (h == was_h))
                ):  # fmt: skip
                    break
            for place, node in enumerate((a, b, c, d, e, f, g, h)):
                sums[row + place] += leaf[node]


@kernel(void(READ, boolean, int64, int64, int64[:, ::1]))
def lay_out(values: Array, single: bool, null: int, column: int, out: Array) -> None:
    """Into out[:, column] whole numbers in the order of the values, and `null` for NaN; `single` as in `Trees`."""
    numbers = out.view(np.float64)
    for row in range(values.shape[0]):
        value = values[row]
        if value != value:  # noqa: PLR0124 - NaN
            out[row, column] = null
        else:
            numbers[row, column] = (np.float64(np.float32(value)) if single else value) + 0.0  # there is one zero
            bits = out[row, column]
            out[row, column] = bits ^ ((bits >> 63) & MOST)


@kernel("void(int32[::1], int32[::1], int32[::1], int32[::1], int32[::1], int32[::1])")
def range_leaves(first: Array, feature: Array, left: Array, right: Array, begin: Array, count: Array) -> None:
    """Number the leaves of each tree from left to right: below a node are count[node] of them, from begin[node] on."""
    for node in range(feature.shape[0] - 1, -1, -1):
        count[node] = 1 if feature[node] < 0 else count[left[node]] + count[right[node]]
    for tree in range(first.shape[0] - 1):
        begin[first[tree]] = 0
    for node in range(feature.shape[0]):
        if feature[node] >= 0:
            begin[left[node]] = begin[node]
            begin[right[node]] = begin[node] + count[left[node]]
