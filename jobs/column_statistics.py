"""What cannot be added up from findings on batches: statistics of whole columns, exact, in bounded memory.

Each statistic takes the columns of a check batch by batch, and gives the metrics that Great Expectations would have
measured on all rows at once. A null, a NaN and a None are all missing values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.exact import ExactSum, Ranks
from jobs.key_counts import COUNT, KeyCounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

MOST = 5
NOT_NUMBERS = "the column does not hold numbers"


@dataclass
class Statistic:
    """The arguments of a check, and a way to have the library look at rows."""

    arguments: Mapping[str, Any]
    look: Callable[[pd.DataFrame], dict[str, Any]]

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Before the first batch."""

    def add(self, columns: pa.Table) -> None:
        """Look at a batch of the columns that the check names."""
        raise NotImplementedError

    def metrics(self) -> dict[str, Any]:
        """What the library asks for, once all batches were seen."""
        raise NotImplementedError


class Smallest(Statistic):
    """`column.min`: of numbers, texts, dates and instants."""

    name, which = "column.min", "min"

    def begin(self) -> None:
        """Before the first batch."""
        self._found: Any = None

    def add(self, columns: pa.Table) -> None:
        """Look at a batch of one column."""
        values = _values(columns[0])
        if not len(values):
            return
        end = pc.min_max(values)[self.which].as_py()
        pick = min if self.which == "min" else max
        self._found = end if self._found is None else pick(self._found, end)

    def metrics(self) -> dict[str, Any]:
        """What the library asks for."""
        return {self.name: self._found}


class Largest(Smallest):
    """`column.max`."""

    name, which = "column.max", "max"


class Sum(Statistic):
    """`column.sum`, `column.mean` and `column.standard_deviation`, without rounding until the end."""

    def begin(self) -> None:
        """Before the first batch."""
        self._sum = ExactSum()
        self._whole = True

    def add(self, columns: pa.Table) -> None:
        """Look at a batch of one column of numbers."""
        self._whole &= pa.types.is_integer(columns[0].type)
        self._sum.add(_numbers(columns[0]))

    def metrics(self) -> dict[str, Any]:
        """What the library asks for."""
        total = self._sum.total()
        return {
            "column.sum": int(total) if self._whole and total.is_integer() else total,
            "column.mean": self._sum.mean(),
            "column.standard_deviation": self._sum.deviation(),
        }


class Quantiles(Statistic):
    """`column.median` and `column.quantile_values`: numbers wait on disk for their places in the order."""

    def begin(self) -> None:
        """Before the first batch."""
        self._ranks = Ranks()
        self._asked = self.arguments.get("quantile_ranges", {}).get("quantiles", [])
        self._interpolation = self.arguments.get("allow_relative_error") or "nearest"

    def add(self, columns: pa.Table) -> None:
        """Look at a batch of one column of numbers."""
        self._ranks.add(_numbers(columns[0]))

    def metrics(self) -> dict[str, Any]:
        """What the library asks for."""
        found = [self._ranks.quantile(share, self._interpolation) for share in self._asked]
        return {"column.median": self._ranks.quantile(0.5, "midpoint"), "column.quantile_values": found}


class Counted(Statistic):
    """A statistic of how often each value occurs."""

    def begin(self) -> None:
        """Before the first batch."""
        self._keys = KeyCounts()
        self._names: list[str] = []

    def add(self, columns: pa.Table) -> None:
        """Look at a batch."""
        self._names = columns.column_names
        self._keys.add(self._kept(columns))

    def _kept(self, columns: pa.Table) -> pa.Table:
        return pa.table([_values(columns[0])], names=columns.column_names)


class Distinct(Counted):
    """`column.distinct_values.count` and `column.unique_proportion`."""

    def metrics(self) -> dict[str, Any]:
        """What the library asks for."""
        count = sum(map(len, self._keys.groups()))
        rows = self._keys.rows
        return {"column.distinct_values.count": count, "column.unique_proportion": count / rows if rows else 0}


class DistinctInSet(Counted):
    """`column.distinct_values.not_in_set`: the library looks at every value once."""

    def metrics(self) -> dict[str, Any]:
        """What the library asks for."""
        count, some = 0, []
        for groups in self._keys.groups():
            found = self.look(pa.table([groups["c0"]], names=self._names).to_pandas())
            count += found["unexpected_count"]
            some += found["partial_unexpected_list"]
            some = sorted(some, key=_order)[: 4 * MOST]
        return {"column.distinct_values.not_in_set.count": count, "column.distinct_values.not_in_set": some}


class MostCommon(Counted):
    """`column.most_common_value`: of values that are equally common those in the set, and a few others."""

    def metrics(self) -> dict[str, Any]:
        """What the library asks for."""
        wanted = set(self.arguments.get("value_set") or [])
        most = 0
        inside: list[Any] = []
        others: list[Any] = []
        for groups in self._keys.groups():
            if not len(groups) or (top := pc.max(groups[COUNT]).as_py()) < most:
                continue
            if top > most:
                most, inside, others = top, [], []
            modes = groups.filter(pc.equal(groups[COUNT], top))
            for start in range(0, len(modes), 8192):
                values = modes["c0"].slice(start, 8192).to_pylist()
                inside += [value for value in values if value in wanted]
                others = sorted([*others, *(v for v in values if v not in wanted)], key=_order)[:MOST]
        return {"column.most_common_value": sorted([*inside, *others], key=_order)}


class Unique(Counted):
    """The rows whose value stands in another row too."""

    def metrics(self) -> dict[str, Any]:
        """What the library asks for."""
        twice = self._keys.duplicates(MOST)
        return {
            "unexpected": twice.rows,
            "examples": [self._example(list(key)) for key in twice.first],
            "considered": self._keys.rows,
        }

    def _example(self, values: list[Any]) -> Any:
        return values[0]


class CompoundUnique(Unique):
    """The same for several columns together; which rows do not count is what `ignore_row_if` says."""

    def _kept(self, columns: pa.Table) -> pa.Table:
        return ignored(columns, self.arguments.get("ignore_row_if", "all_values_are_missing"))

    def _example(self, values: list[Any]) -> Any:
        return dict(zip(self._names, values, strict=True))


def ignored(columns: pa.Table, which: str) -> pa.Table:
    """The rows that count under the library's `ignore_row_if`."""
    missing = [c.is_null(nan_is_null=True).to_numpy() for c in columns.columns]
    left_out = {
        "all_values_are_missing": np.logical_and.reduce(missing),
        "any_value_is_missing": np.logical_or.reduce(missing),
        "never": np.zeros(len(columns), bool),
    }[which]
    return columns.filter(pa.array(~left_out))


def _values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values that are there."""
    return column.filter(pc.invert(column.is_null(nan_is_null=True)))


def _numbers(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The values that are there as float64. Raises TypeError when they are no numbers."""
    found = column.type
    numeric = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    if not (numeric or pa.types.is_boolean(found) or pa.types.is_null(found)):
        raise TypeError(NOT_NUMBERS)
    return _values(column).cast(pa.float64(), safe=False).to_numpy().astype(np.float64, copy=False)  # type: ignore[no-any-return]


def _order(value: Any) -> tuple[str, Any]:
    return ("", value) if isinstance(value, int | float) else (type(value).__name__, value)


STATISTICS: dict[str, type[Statistic]] = {
    "expect_column_distinct_values_to_be_in_set": DistinctInSet,
    "expect_column_max_to_be_between": Largest,
    "expect_column_mean_to_be_between": Sum,
    "expect_column_median_to_be_between": Quantiles,
    "expect_column_min_to_be_between": Smallest,
    "expect_column_most_common_value_to_be_in_set": MostCommon,
    "expect_column_proportion_of_unique_values_to_be_between": Distinct,
    "expect_column_quantile_values_to_be_between": Quantiles,
    "expect_column_stdev_to_be_between": Sum,
    "expect_column_sum_to_be_between": Sum,
    "expect_column_unique_value_count_to_be_between": Distinct,
    "expect_column_values_to_be_unique": Unique,
    "expect_compound_columns_to_be_unique": CompoundUnique,
}
