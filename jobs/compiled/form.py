"""What a pipeline is compiled into: columns of numbers that are looked up or calculated, and a model over them.

A lookup turns each value of a feature into a code: the position among its keys, then one code for a null and one for
every value that is no key. Tables by code hold what scikit-learn's own transformers gave for each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Doubles = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int32]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

STEPS = {
    "subtract": 1,
    "add": 1,
    "multiply": 1,
    "divide": 1,
    "clip": 2,
    "fill": 1,
    "replace": 2,
    "is_null": 0,
    "is": 1,
    "refuse_null": 0,
    "refuse_infinite": 0,
    "refuse_large": 0,
}
"""The steps from a number to a number, each with how many numbers it takes, in the order of the kernel's kinds."""


class NotCompiledError(Exception):
    """A pipeline that cannot be compiled. The message is one sentence that says what stands in the way."""


@dataclass(frozen=True)
class Step:
    """One of STEPS, with its numbers."""

    name: str
    numbers: tuple[float, ...] = ()


@dataclass(frozen=True)
class Number:
    """A feature's numbers, a null as NaN, after some steps."""

    feature: str
    steps: tuple[Step, ...] = ()


@dataclass(frozen=True)
class Lookup:
    """A feature's values as codes; `refused`, shape (keys + 2,), is true for codes that scikit-learn would refuse.

    `texts` are the keys of a category; `numbers`, sorted and shape (keys,), those of any other feature after `steps`.
    """

    feature: str
    texts: tuple[str, ...]
    numbers: Doubles
    steps: tuple[Step, ...]
    refused: Flags

    @property
    def null(self) -> int:
        """The code of a null; that of a value which is no key is the next one."""
        return len(self.texts) + len(self.numbers)


@dataclass(frozen=True)
class Columns:
    """The columns that the model sees: column i is numbers[number[i]], or a table over the codes of lookups[lookup[i]].

    Whichever does not apply is -1. Such a table is default[i], save for the codes codes[first[i]:first[i + 1]], which
    have the values at the same places.
    """

    lookups: tuple[Lookup, ...]
    numbers: tuple[Number, ...]
    lookup: Integers
    number: Integers
    default: Doubles
    first: Integers
    codes: Integers
    values: Doubles

    def table(self, column: int) -> Doubles:
        """The values of a looked up column by code, shape (keys + 2,)."""
        lookup = self.lookups[self.lookup[column]]
        entries = slice(self.first[column], self.first[column + 1])
        table = np.full(lookup.null + 2, self.default[column])
        table[self.codes[entries]] = self.values[entries]
        return table


@dataclass(frozen=True)
class Linear:
    """Weights, shape (outputs, columns), and intercepts, shape (outputs,), over some columns."""

    columns: Integers
    weights: Doubles
    intercepts: Doubles
    finish: str


@dataclass(frozen=True)
class Trees:
    """Trees whose leaves are added to `base` (outputs,), each to one output, in order, and divided at the end.

    Node arrays have shape (nodes,); those of tree t are first[t]:first[t + 1], its root is the first, and a child
    comes after its parent. A leaf has feature -1; else feature is a place in `columns`. A value goes left when it is
    at most the threshold, or, where `split` is not -1, when sets[split, value] is true; NaN goes left when `null_left`.
    With `single` values are rounded to float32 first; with a `finish` that ends in `_single` leaves are added in
    float32.
    """

    columns: Integers
    single: bool
    first: Integers
    output: Integers
    feature: Integers
    threshold: Doubles
    left: Integers
    right: Integers
    null_left: Flags
    split: Integers
    sets: Flags
    value: Doubles
    base: Doubles
    divisor: float
    finish: str


@dataclass(frozen=True)
class Sigmoid:
    """Platt's calibration: expit(-(slope * x + intercept))."""

    slope: float
    intercept: float


@dataclass(frozen=True)
class Isotonic:
    """A line through points, x ascending; values outside are clipped to its ends."""

    x: Doubles
    y: Doubles


@dataclass(frozen=True)
class Calibrated:
    """The mean of models, each with its calibration."""

    members: tuple[Linear | Trees, ...]
    calibrations: tuple[Sigmoid | Isotonic, ...]


Model = Linear | Trees | Calibrated


@dataclass(frozen=True)
class Plan:
    """A compiled pipeline, with the task and the features (name to kind) that it was trained with."""

    task: str
    features: dict[str, str]
    columns: Columns
    model: Model
