"""From a table as it is read to codes and numbers: a text is looked up once for each value of a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.compiled.form import STEPS
from jobs.compiled.kernels.numbers import find_numbers, run_steps, take_codes
from jobs.errors import Misconfigured
from jobs.spec import FeatureKind
from jobs.treat import as_doubles, check_kind, feature_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.compiled.form import Columns, Doubles, Integers, Lookup, Step

KINDS = {name: kind for kind, name in enumerate(STEPS)}
REFUSALS = {"refuse_null": "a null", "refuse_infinite": "an infinite value", "refuse_large": "too large a value"}


class Batch:
    """The columns of a table, each calculated once. `where` names the file in messages.

    `numbers` are columns of the table that are known as `as_doubles` gives them.
    """

    def __init__(
        self,
        table: pa.Table,
        kinds: dict[str, str],
        columns: Columns,
        where: str,
        numbers: Mapping[str, Doubles] | None = None,
    ) -> None:
        self.rows = table.num_rows
        self._given = numbers or {}
        self._table = table
        self._kinds = kinds
        self._columns = columns
        self._where = where
        self._codes: dict[int, Integers] = {}
        self._numbers: dict[tuple[str, int], tuple[tuple[Step, ...], Doubles]] = {}

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
        key = (feature, id(steps))  # to hash them takes as long as many a step
        if key not in self._numbers:
            self._numbers[key] = (steps, self._after(feature, steps))  # kept with it, so that no others get their id
        return self._numbers[key][1]

    def _after(self, feature: str, steps: tuple[Step, ...]) -> Doubles:
        if not steps:
            return self._read(feature)
        found, bad = take_steps(self.numbers(feature, ()), steps)
        if bad is not None:
            self._refuse(feature, REFUSALS[bad.name])
        return found

    def _read(self, feature: str) -> Doubles:
        """As `feature_values` does, but without a copy where a file has float64 and no nulls."""
        column, kind = self._table[feature], FeatureKind(self._kinds[feature])
        found = self._given.get(feature)
        if found is None:
            found = as_doubles(column)
        if found is None:
            return np.ascontiguousarray(feature_values(column, feature, kind, self._where))
        check_kind(column, feature, kind, self._where)
        return found

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


def take_steps(values: Doubles, steps: tuple[Step, ...]) -> tuple[Doubles, Step | None]:
    """The values after some steps, rounded as scikit-learn does; and a step that refuses one of them, or None."""
    kinds = np.array([KINDS[step.name] for step in steps], np.int32)
    first, second = np.array([(*step.numbers, 0.0, 0.0)[:2] for step in steps], np.float64).T.copy()
    found = np.empty_like(values)
    bad = run_steps(values, kinds, first, second, found)
    return found, steps[bad] if bad >= 0 else None
