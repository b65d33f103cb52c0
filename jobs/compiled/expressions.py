"""Columns while a pipeline is compiled: each depends on one feature, through what its transformers do to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jobs.compiled.columns import take_steps
from jobs.compiled.form import Columns, Doubles, Flags, Integers, Lookup, NotCompiledError, Number, Step


@dataclass(frozen=True)
class Text:
    """A category's texts, before any encoder; a null is `null`, or is none when an imputer has not filled it."""

    feature: str
    null: str | None = None


@dataclass(frozen=True)
class Coded:
    """A table by code of a lookup: `default`, save for some codes."""

    lookup: int
    default: float
    codes: Integers
    values: Doubles


Expression = Text | Number | Coded


@dataclass
class Lookups:
    """The lookups so far, and the codes of each that scikit-learn would refuse."""

    entries: list[Lookup] = field(default_factory=list)
    refused: list[Flags] = field(default_factory=list)
    checked: list[Number] = field(default_factory=list)

    def only_check(self, column: Expression) -> None:
        """What a step refuses of a column is refused, although perhaps no model sees the column."""
        if isinstance(column, Number) and any(step.name.startswith("refuse") for step in column.steps):
            self.checked.append(column)

    def add(self, feature: str, texts: tuple[str, ...], numbers: Doubles, steps: tuple[Step, ...] = ()) -> int:
        """A new lookup's number."""
        size = len(texts) + len(numbers) + 2
        self.entries.append(Lookup(feature, texts, numbers, steps, np.zeros(size, np.bool_)))
        self.refused.append(np.zeros(size, np.bool_))
        return len(self.entries) - 1

    def size(self, lookup: int) -> int:
        """How many codes a lookup has."""
        return len(self.refused[lookup])

    def dense(self, column: Coded) -> Doubles:
        """The values of all codes."""
        table = np.full(self.size(column.lookup), column.default)
        table[column.codes] = column.values
        return table

    def coded(self, lookup: int, table: Doubles) -> Coded:
        """A table with the value that most codes have as its default."""
        kinds, counts = np.unique(table, return_counts=True)
        default = float(kinds[counts.argmax()])
        other = table != default
        return Coded(lookup, default, np.flatnonzero(other).astype(np.int32), table[other])

    def stepped(self, column: Expression, *steps: Step) -> Expression:
        """A column after some steps; what a step refuses of a table is refused when a row has its code."""
        if isinstance(column, Text):
            raise NotCompiledError(f"the text {column.feature} meets a transformer for numbers")
        for step in steps:
            if isinstance(column, Number):
                column = Number(column.feature, (*column.steps, step))
                continue
            if step.name.startswith("refuse"):
                if refused(np.array([column.default]), step).any():
                    others = np.ones(self.size(column.lookup), np.bool_)
                    others[column.codes] = False
                    self.refused[column.lookup] |= others
                self.refused[column.lookup][column.codes[refused(column.values, step)]] = True
                continue
            values, _ = take_steps(np.append(column.values, column.default), (step,))
            column = Coded(column.lookup, float(values[-1]), column.codes, values[:-1])
        return column


def refused(values: Doubles, step: Step) -> Flags:
    """Which values a step refuses; as float32 for the one that refuses large values."""
    if step.name == "refuse_null":
        return np.isnan(values)
    with np.errstate(over="ignore"):
        return np.isinf(values if step.name == "refuse_infinite" else values.astype(np.float32))


def gather(columns: list[Number | Coded], lookups: Lookups) -> Columns:
    """The columns that all models of a plan see, in its flat form."""
    coded = [column if isinstance(column, Coded) else None for column in columns]
    numbers = [column if isinstance(column, Number) else None for column in columns]
    sizes = [len(column.codes) if column else 0 for column in coded]
    places = np.cumsum([number is not None for number in numbers]) - 1
    return Columns(
        lookups=tuple(
            replace(entry, refused=refused) for entry, refused in zip(lookups.entries, lookups.refused, strict=True)
        ),
        numbers=tuple(number for number in numbers if number),
        lookup=_integers([column.lookup if column else -1 for column in coded]),
        number=_integers([place if number else -1 for place, number in zip(places, numbers, strict=True)]),
        default=np.array([column.default if column else 0.0 for column in coded], np.float64),
        first=_integers(np.concatenate([[0], np.cumsum(sizes)])),
        codes=_integers(np.concatenate([np.empty(0), *(column.codes for column in coded if column)])),
        values=np.concatenate([np.empty(0), *(column.values for column in coded if column)]),
    )


def _integers(values: Any) -> Integers:
    return np.asarray(values).astype(np.int32)
