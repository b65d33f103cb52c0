"""Sums and order statistics that do not depend on how the rows are cut into batches, in bounded memory."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.spill import Piece, Spill

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = np.ndarray[Any, np.dtype[np.float64]]
BLOCK = 8 << 17
_HALF = 27
_SIGN = np.uint64(1 << 63)


class ExactSum:
    """The sum of numbers and of their squares, without rounding: whole numbers for each binary exponent.

    Rounded once, when it is asked for. NaN must be left out before; infinite values are counted.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = Fraction(0)
        self._squares = Fraction(0)
        self._infinite = {math.inf: 0, -math.inf: 0}

    def add(self, values: Floats) -> None:
        """Add values, shape (n,)."""
        self.count += len(values)
        for end in self._infinite:
            self._infinite[end] += int((values == end).sum())
        mantissa, exponent = np.frexp(values[np.isfinite(values)])
        whole = np.ldexp(mantissa, 53).astype(np.int64)
        for power in np.unique(exponent):
            numbers = whole[exponent == power]
            high, low = numbers >> _HALF, numbers & ((1 << _HALF) - 1)
            scale = Fraction(2) ** (int(power) - 53)
            self._sum += ((_total(high) << _HALF) + _total(low)) * scale
            squares = (_total(high * high) << 2 * _HALF) + (_total(high * low) << _HALF + 1) + _total(low * low)
            self._squares += squares * scale * scale

    def total(self) -> float:
        """The sum; 0 of nothing."""
        return self._rounded(self._sum)

    def mean(self) -> float:
        """The mean; NaN of nothing."""
        return self._rounded(self._sum / self.count) if self.count else math.nan

    def deviation(self) -> float:
        """The standard deviation of a sample; NaN of fewer than two numbers."""
        if self.count < 2 or any(self._infinite.values()):
            return math.nan
        variance = (self._squares - self._sum**2 / self.count) / (self.count - 1)
        try:
            return math.sqrt(variance)
        except OverflowError:
            return math.inf

    def _rounded(self, exact: Fraction) -> float:
        ends = [end for end, count in self._infinite.items() if count]
        if ends:
            return sum(ends)
        try:
            return float(exact)
        except OverflowError:
            return math.inf if exact > 0 else -math.inf


def _total(numbers: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    """The sum of up to 2**31 whole numbers below 2**62."""
    return (int((numbers >> 32).sum()) << 32) + int((numbers & 0xFFFFFFFF).sum())


class Ranks:
    """The value at any place of the ascending order of many numbers, which lie on disk.

    Radix selection: four times over all of them, 16 bits of a value each time.
    """

    def __init__(self) -> None:
        self.count = 0
        self._spill = Spill()

    def add(self, values: Floats) -> None:
        """Add values, shape (n,), none of them NaN."""
        bits = np.ascontiguousarray(values + 0.0).view(np.uint64)
        ordered = np.where(bits & _SIGN, ~bits, bits | _SIGN)
        self._spill.put(pa.py_buffer(ordered))
        self.count += len(values)

    def quantile(self, share: float, interpolation: str) -> float:
        """The quantile as pandas has it, with its names for an interpolation; NaN of nothing."""
        if not self.count:
            return math.nan
        place = share * (self.count - 1)
        low, high = self._at(math.floor(place)), self._at(math.ceil(place))
        between = {
            "lower": 0.0,
            "higher": 1.0,
            "midpoint": 0.5,
            "nearest": float(round(place) - math.floor(place)),
            "linear": place - math.floor(place),
        }[interpolation]
        if low == high or between in {0.0, 1.0}:
            return high if between == 1.0 else low
        return low + (high - low) * between if between < 0.5 else high - (high - low) * (1 - between)

    def _at(self, rank: int) -> float:
        prefix = 0
        for shift in (48, 32, 16, 0):
            counts = np.zeros(1 << 16, np.int64)
            for numbers in self._read():
                mine = numbers if shift == 48 else numbers[numbers >> np.uint64(shift + 16) == np.uint64(prefix)]
                digits = (mine >> np.uint64(shift)) & np.uint64(0xFFFF)
                counts += np.bincount(digits.astype(np.int64), minlength=1 << 16)
            before = np.cumsum(counts)
            digit = int(np.searchsorted(before, rank, side="right"))
            rank -= int(before[digit] - counts[digit])
            prefix = prefix << 16 | digit
        found = np.array([prefix], np.uint64)
        return float(np.where(found & _SIGN, found ^ _SIGN, ~found).view(np.float64)[0])

    def _read(self) -> Iterator[np.ndarray[Any, np.dtype[np.uint64]]]:
        for start in range(0, self._spill.size, BLOCK):
            piece = Piece(start, min(BLOCK, self._spill.size - start))
            yield np.frombuffer(self._spill.get(piece), np.uint64)
