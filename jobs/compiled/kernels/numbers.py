"""Kernels over one column of numbers: steps, codes, bins, and the sums of linear models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import boolean, float64, int32, int64, types, uint8, uint16, void

from jobs.compiled.kernels.compiler import kernel

Array = np.ndarray[Any, Any]
READ = types.Array(float64, 1, "C", readonly=True)  # what a file's page is read into must not be written to


SUBTRACT, ADD, MULTIPLY, DIVIDE, CLIP, FILL, REPLACE, IS_NULL, IS = range(9)
REFUSE_NULL, REFUSE_INFINITE, REFUSE_LARGE = range(9, 12)


@kernel(int64(READ, int32[::1], float64[::1], float64[::1], float64[::1]))
def run_steps(values: Array, kinds: Array, first: Array, second: Array, out: Array) -> int:
    """Into `out` the values after all steps, each of a kind above with up to two numbers.

    Returns the place of a step that refuses a value, or -1.
    """
    for start in range(0, values.shape[0], 2048):
        size = min(2048, values.shape[0] - start)
        part = out[start : start + size]
        for row in range(size):
            part[row] = values[start + row]
        for step in range(kinds.shape[0]):
            kind, a, b = kinds[step], first[step], second[step]
            bad = 0
            if kind == SUBTRACT:
                for row in range(size):
                    part[row] -= a
            elif kind == ADD:
                for row in range(size):
                    part[row] += a
            elif kind == MULTIPLY:
                for row in range(size):
                    part[row] *= a
            elif kind == DIVIDE:
                for row in range(size):
                    part[row] /= a
            elif kind == CLIP:
                for row in range(size):
                    v = part[row]
                    v = a if v < a else v  # noqa: FURB136 - NaN stays
                    part[row] = b if v > b else v  # noqa: FURB136
            elif kind == FILL:
                for row in range(size):
                    v = part[row]
                    part[row] = a if v != v else v  # noqa: PLR0124 - NaN
            elif kind == REPLACE:
                for row in range(size):
                    v = part[row]
                    part[row] = b if v == a else v
            elif kind == IS_NULL:
                for row in range(size):
                    part[row] = 1.0 if part[row] != part[row] else 0.0
            elif kind == IS:
                for row in range(size):
                    part[row] = 1.0 if part[row] == a else 0.0
            elif kind == REFUSE_NULL:
                for row in range(size):
                    bad += part[row] != part[row]
            elif kind == REFUSE_INFINITE:
                for row in range(size):
                    bad += abs(part[row]) == np.inf
            else:
                for row in range(size):
                    bad += abs(np.float32(part[row])) == np.float32(np.inf)
            if bad:
                return step
    return -1


@kernel(int64(READ, float64, float64))
def count_outside(values: Array, low: float, high: float) -> int:
    """How many values are infinite, below `low` or above `high`; NaN is none of these."""
    found = 0
    for row in range(values.shape[0]):
        value = values[row]
        found += (value < low) | (value > high) | (abs(value) == np.inf)
    return found


@kernel(void(READ, types.Array(uint8, 1, "C", readonly=True), int64, float64[::1]))
def spread(values: Array, bits: Array, first: int, out: Array) -> None:
    """Into `out` the values, and NaN where the bit of a row is not set: that of row n is bit `first + n`."""
    for row in range(values.shape[0]):
        place = first + row
        out[row] = values[row] if (bits[place >> 3] >> (place & 7)) & 1 else np.nan


@kernel("void(int32[::1], int32[::1], int32[::1])")
def take_codes(places: Array, table: Array, out: Array) -> None:
    """out[row] = table[places[row]]: from places in a dictionary to codes."""
    for row in range(places.shape[0]):
        out[row] = table[places[row]]


@kernel("void(int32[::1], uint8[::1], uint8[::1])", "void(int32[::1], uint16[::1], uint16[::1])")
def take_bins(codes: Array, table: Array, out: Array) -> None:
    """out[row] = table[codes[row]]: from codes to bins."""
    for row in range(codes.shape[0]):
        out[row] = table[codes[row]]


@kernel("void(int32[::1], float64[::1], float64[::1])")
def add_codes(codes: Array, table: Array, total: Array) -> None:
    """Add what each row's code is worth, shape (codes,), to the total of the row."""
    for row in range(codes.shape[0]):
        total[row] += table[codes[row]]


@kernel(void(READ, float64, float64[::1]))
def add_numbers(values: Array, weight: float, total: Array) -> None:
    """Add the weighted values to the totals, rounding as scikit-learn does: no fused multiplication."""
    for row in range(values.shape[0]):
        total[row] += values[row] * weight


@kernel(
    int64(READ, float64[::1], boolean, uint8, uint8[::1]),
    int64(READ, float64[::1], boolean, uint16, uint16[::1]),
)
def bin_numbers(values: Array, thresholds: Array, single: bool, null: Any, out: Array) -> int:
    """Into out[row] the number of thresholds, ascending, below the value, and `null` for NaN; returns how many NaN.

    The search has no branches and takes one step for all rows of a block at a time, so that it is vectorised.
    """
    block = 1024
    places = np.empty(block, np.uint32)
    used = np.empty(block, np.float64)
    count = thresholds.shape[0]
    nulls = 0
    for start in range(0, values.shape[0], block):
        size = min(block, values.shape[0] - start)
        for row in range(size):
            places[row] = 0
            used[row] = values[start + row]
        if single:
            for row in range(size):
                used[row] = np.float64(np.float32(used[row]))
        left = np.int64(count)
        while left > 0:
            half = np.uint32((left + 1) // 2)
            for row in range(size):
                place, value = places[row], used[row]
                limit = thresholds[place + half - np.uint32(1)]
                places[row] = place + (half if limit < value else np.uint32(0))
            left -= half
        for row in range(size):
            place, value = places[row], used[row]
            is_null = value != value  # noqa: PLR0124 - NaN
            nulls += is_null
            out[start + row] = null if is_null else place
    return nulls


@kernel(void(READ, float64[::1], int32[::1]))
def find_numbers(values: Array, keys: Array, out: Array) -> None:
    """Into out[row] the place of the value among the keys, ascending; len(keys) for NaN, one more for no key."""
    count = keys.shape[0]
    for row in range(values.shape[0]):
        value = values[row]
        place = np.searchsorted(keys, value)
        if value != value:  # noqa: PLR0124 - NaN
            out[row] = count
        elif place < count and keys[place] == value:
            out[row] = place
        else:
            out[row] = count + 1
