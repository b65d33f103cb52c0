"""Kernels over trees: many rows at a time through leaf planes, or each row down each tree.

Leaf planes are QuickScorer's bitvectors (Lucchese et al., SIGIR 2015) turned on their side: leaf 8 p + b of a tree is
bit b of plane p, one byte a row. A node that sends a row right clears the leaves on its left; the first leaf that is
left over is where the row ends.
"""

from __future__ import annotations

import numpy as np

from jobs.compiled.kernels.compiler import kernel
from jobs.compiled.kernels.numbers import Array

BLOCK = 2048
LEAF = -1
FOUR = 4
"""Operations of a plane are done four at a time; the last ones are filled up with some that clear nothing."""

_PLANES = (
    "void({bins}[:, ::1], int32[::1], int32[::1], int32[::1], {bins}[::1], uint8[::1], {sums}[::1], int32[::1], "
    "int32[::1], {sums}[:, ::1])"
)
_WALKS = (
    "void(float64[:, ::1], int32[:, ::1], int32[::1], boolean[::1], int32[::1], int32[::1], boolean[::1], "
    "int32[::1], int32[::1], float64[::1], int32[::1], int32[::1], "
    "boolean[::1], int32[::1], boolean[:, ::1], {sums}[::1], {sums}[:, ::1])"
)
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
    a bin above the limit keeps only these bits. Those of plane p of tree t are first[8 t + p]:first[8 t + p + 1], a
    multiple of four. The values of the leaves of tree t begin at leaf[t].
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
                for o in range(first[8 * tree + plane], first[8 * tree + plane + 1], FOUR):
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


@kernel(*(_WALKS.format(sums=sums) for sums in _SUMS))
def add_walks(
    numbers: Array,
    codes: Array,
    source: Array,
    others_left: Array,
    begin: Array,
    code: Array,
    goes: Array,
    first: Array,
    output: Array,
    threshold: Array,
    left: Array,
    right: Array,
    null_left: Array,
    split: Array,
    sets: Array,
    value: Array,
    total: Array,
) -> None:
    """Add the leaf of each tree that a row ends in to total[output[tree], row], for trees of any size.

    numbers and codes: (those that are asked for, rows). Node n asks for numbers[source[n]], or where that is below -1
    for codes[-2 - source[n]]: the codes code[begin[n]:begin[n + 1]] go left where `goes` says so, all others where
    others_left[n] does. A leaf has source -1. The rest is as in `Trees`.
    """
    block = 64
    rows = total.shape[1]
    for start in range(0, rows, block):
        end = min(start + block, rows)
        for tree in range(output.shape[0]):
            for row in range(start, end):
                node = first[tree]
                while source[node] != LEAF:
                    if source[node] < LEAF:
                        found_code = codes[-2 - source[node], row]
                        goes_left = others_left[node]
                        for entry in range(begin[node], begin[node + 1]):
                            if code[entry] == found_code:
                                goes_left = goes[entry]
                    else:
                        found = numbers[source[node], row]
                        if found != found:  # noqa: PLR0124 - NaN
                            goes_left = null_left[node]
                        elif split[node] < 0:
                            goes_left = found <= threshold[node]
                        elif found < 0:
                            goes_left = null_left[node]
                        else:
                            goes_left = sets[split[node], np.uint8(found)]
                    node = left[node] if goes_left else right[node]
                total[output[tree], row] += value[node]


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
