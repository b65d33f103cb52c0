"""From a table as it is read to codes and numbers: a text is looked up once for each value of a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.compiled.kernels.numbers import find_numbers, take_codes
from jobs.errors import Misconfigured
from jobs.treat import check_kind, feature_values
from jobs.spec import FeatureKind

if TYPE_CHECKING:
    from jobs.compiled.form import Columns, Doubles, Flags, Integers, Lookup, Step

REFUSALS = {"refuse_null": "a null", "refuse_infinite": "an infinite value", "refuse_large": "too large a value"}


class Batch:
    """The columns of a table, each calculated once. `where` names the file in messages."""

    def __init__(self, table: pa.Table, kinds: dict[str, str], columns: Columns, where: str) -> None:
        self.rows = table.num_rows
        self._table = table
        self._kinds = kinds
        self._columns = columns
        self._where = where
        self._codes: dict[int, Integers] = {}
        self._numbers: dict[tuple[str, tuple[Step, ...]], Doubles] = {}

    def check(self) -> None:
        """Raise Misconfigured when scikit-learn would refuse a value, also one that no tree asks for."""
        for number in self._columns.numbers:
            if any(step.name in REFUSALS for step in number.steps):
                self.numbers(number.feature, number.steps)
        for place, lookup in enumerate(self._columns.lookups):
            if lookup.refused.any() or any(step.name in REFUSALS for step in lookup.steps):
                self.codes(place)

    def codes(self, lookup: int) -> Integers:
        """The codes of a lookup, shape (rows,). Raises Misconfigured when scikit-learn would refuse one of them."""
        if lookup not in self._codes:
            entry = self._columns.lookups[lookup]
            if self._kinds[entry.feature] == FeatureKind.category.value:
                codes = self._text_codes(entry)
            else:
                codes = np.empty(self.rows, np.int32)
                find_numbers(self.numbers(entry.feature, entry.steps), entry.numbers, codes)
            if entry.refused.any() and (bad := entry.refused[codes]).any():
                self._refuse(entry.feature, "a null" if codes[bad.argmax()] == entry.null else "a value")
            self._codes[lookup] = codes
        return self._codes[lookup]

    def values(self, column: int) -> Doubles:
        """The values of a column that the model sees, shape (rows,)."""
        number = self._columns.number[column]
        if number >= 0:
            entry = self._columns.numbers[number]
            return self.numbers(entry.feature, entry.steps)
        return self._columns.table(column)[self.codes(self._columns.lookup[column])]

    def numbers(self, feature: str, steps: tuple[Step, ...]) -> Doubles:
        """The numbers of a feature after some steps, shape (rows,). Raises Misconfigured when a step refuses one."""
        if (feature, steps) not in self._numbers:
            if steps:
                before = self.numbers(feature, steps[:-1])
                self._check(feature, before, steps[-1])
                found = take_step(before, steps[-1])
            else:
                kind = FeatureKind(self._kinds[feature])
                found = np.ascontiguousarray(feature_values(self._table[feature], feature, kind, self._where))
            self._numbers[feature, steps] = found
        return self._numbers[feature, steps]

    def _check(self, feature: str, values: Doubles, step: Step) -> None:
        if step.name in REFUSALS and refused(values, step).any():
            self._refuse(feature, REFUSALS[step.name])

    def _text_codes(self, lookup: Lookup) -> Integers:
        column = self._table[lookup.feature]
        check_kind(column, lookup.feature, FeatureKind.category, self._where)
        keys = pa.array(lookup.texts, pa.string())
        codes = np.empty(self.rows, np.int32)
        start = 0
        for chunk in column.chunks:
            _chunk_codes(chunk, keys, codes[start : start + len(chunk)])
            start += len(chunk)
        return codes

    def _refuse(self, feature: str, what: str) -> None:
        raise Misconfigured(
            f"The pipeline cannot score these rows: the column {feature} holds {what} that it never learned from: "
            f"retrain with such rows, or let the input gate reject them."
        )


def _chunk_codes(chunk: pa.Array, keys: pa.StringArray, out: Integers) -> None:
    if pa.types.is_null(chunk.type):
        out[:] = len(keys)
        return
    encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
    values = encoded.dictionary.cast(pa.string())
    table = np.full(len(values) + 1, len(keys), np.int32)
    found = pc.index_in(values, value_set=keys).fill_null(len(keys) + 1)
    table[:-1] = np.where(pc.is_null(values), len(keys), found)
    places = encoded.indices.cast(pa.int32())
    if places.null_count:
        places = places.fill_null(len(values))
    take_codes(np.array(places), table, out)


def refused(values: Doubles, step: Step) -> Flags:
    """Which values a step refuses, one of REFUSALS; as float32 for the one that refuses large values."""
    if step.name == "refuse_null":
        return np.isnan(values)
    with np.errstate(over="ignore"):
        return np.isinf(values if step.name == "refuse_infinite" else values.astype(np.float32))


def take_step(values: Doubles, step: Step) -> Doubles:
    """The values after one step, as scikit-learn calculates it; the steps that only refuse change nothing."""
    numbers = step.numbers
    result: Any = values
    match step.name:
        case "subtract":
            result = values - numbers[0]
        case "add":
            result = values + numbers[0]
        case "multiply":
            result = values * numbers[0]
        case "divide":
            result = values / numbers[0]
        case "clip":
            result = np.clip(values, numbers[0], numbers[1])
        case "fill":
            result = np.where(np.isnan(values), numbers[0], values)
        case "replace":
            result = np.where(values == numbers[0], numbers[1], values)
        case "is_null":
            result = np.isnan(values).astype(np.float64)
        case "is":
            result = (values == numbers[0]).astype(np.float64)
    return result  # type: ignore[no-any-return]
