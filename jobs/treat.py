"""The one reading of data: how rows become features, and which of them are rejected.

Training, evaluation and scoring all read through `treat`, so that a null is the same null everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import Rejected
from jobs.spec import FeatureKind

if TYPE_CHECKING:
    import pandas as pd

    from jobs.spec import Feature, ModelSpec

NULL_KEY = "null_key"
NONE = np.array(None, dtype=object)
TEXTS = {pa.string(), pa.large_string(), pa.string_view()}


@dataclass(frozen=True)
class Treated:
    """Rows as they were read (`table`, and `keys` apart), which of them are rejected, and as a pipeline gets them.

    `codes` has the shape (rows,): 0 for a good row, or which of `reasons` it is rejected for, counted from 1. `numbers`
    are the features that came as float64, each with the shape (rows,) and with NaN for a null; not to be written to.
    """

    table: pa.Table
    keys: pa.Table
    kinds: Mapping[str, FeatureKind]
    codes: np.ndarray[Any, np.dtype[np.int16]]
    reasons: tuple[str, ...]
    where: str
    numbers: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]] = field(default_factory=dict)

    @cached_property
    def good(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True for the rows that are not rejected."""
        good: np.ndarray[Any, np.dtype[np.bool_]] = np.equal(self.codes, 0)
        return good

    @cached_property
    def features(self) -> pd.DataFrame:
        """All rows, rejected ones too, as scikit-learn gets them: see `feature_values`."""
        import pandas as pd

        columns = {name: feature_values(self.table[name], name, kind, self.where) for name, kind in self.kinds.items()}
        return pd.DataFrame(columns, index=pd.RangeIndex(len(self.codes)), copy=False)

    def why(self) -> pa.Array:
        """The reasons of the rejected rows, in their order."""
        return pa.array(self.reasons, pa.string()).take(pa.array(self.codes[~self.good] - 1))


def treat(table: pa.Table, spec: ModelSpec, where: str) -> Treated:
    """The rows of a table, with the reason why a row is rejected: the first rule that it breaks.

    A null, a NaN and a None are all NaN in the features. Raises Rejected when a column has a type that its kind does
    not allow; `where` names the file in that message.
    """
    codes, reasons = np.zeros(table.num_rows, np.int16), []
    numbers = _numbers(table, spec) if table.num_rows else {}  # without rows it is about types: no Numba for that
    for reason, broken in _broken_rules(table, spec, where, numbers):
        if broken.any():
            reasons.append(reason)
            codes[broken & (codes == 0)] = len(reasons)
    kinds = {name: feature.kind for name, feature in spec.features.items()}
    keys = table.select(list(spec.key))
    return Treated(table.select(list(kinds)), keys, kinds, codes, tuple(reasons), where, numbers)


def _numbers(table: pa.Table, spec: ModelSpec) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    return {name: values for name in spec.features if (values := as_doubles(table[name])) is not None}


def _broken_rules(
    table: pa.Table, spec: ModelSpec, where: str, numbers: Mapping[str, np.ndarray[Any, Any]]
) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for name in spec.key:
        yield NULL_KEY, _nulls(table[name])
    for name, feature in spec.features.items():
        column, values = table[name], numbers.get(name)
        found = check_kind(column, name, feature.kind, where)
        if feature.required:
            yield f"{name}:null", _nulls(column) if values is None else np.isnan(values)
        bounded = feature.at_least is not None or feature.at_most is not None
        if feature.kind is FeatureKind.category or not (bounded or pa.types.is_floating(found)):
            continue
        if values is None:
            values = feature_values(column, name, feature.kind, where)
        elif not _any_outside(values, feature):
            continue
        yield f"{name}:infinite", np.isinf(values)
        if feature.at_least is not None:
            yield f"{name}:below_minimum", values < feature.at_least
        if feature.at_most is not None:
            yield f"{name}:above_maximum", values > feature.at_most


def _any_outside(values: np.ndarray[Any, Any], feature: Feature) -> bool:
    """Whether any value is infinite or out of bounds."""
    from jobs.compiled.kernels.numbers import count_outside

    at_least = -math.inf if feature.at_least is None else feature.at_least
    at_most = math.inf if feature.at_most is None else feature.at_most
    return bool(count_outside(values, at_least, at_most))


def as_doubles(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The values of a column of float64, shape (rows,), with NaN for a null; None for a column of another type.

    Not to be written to: without nulls it is the column's own memory.
    """
    if not pa.types.is_float64(column.type):
        return None
    from jobs.compiled.kernels.numbers import spread

    parts = []
    for chunk in column.chunks:
        bits, content = chunk.buffers()
        values = np.frombuffer(content or b"", np.float64)[chunk.offset : chunk.offset + len(chunk)]
        if chunk.null_count:
            given, values = values, np.empty(len(chunk))
            spread(given, np.frombuffer(bits, np.uint8), chunk.offset, values)
        parts.append(values)
    return parts[0] if len(parts) == 1 else np.concatenate([np.empty(0), *parts])


def _nulls(column: pa.ChunkedArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    if not column.null_count and not (pa.types.is_dictionary(column.type) or pa.types.is_floating(column.type)):
        return np.zeros(len(column), np.bool_)
    if pa.types.is_dictionary(column.type):  # the null may be a value of the dictionary
        column = column.cast(column.type.value_type)
    return pc.is_null(column, nan_is_null=True).to_numpy()  # type: ignore[no-any-return]


def feature_values(column: pa.ChunkedArray, name: str, kind: FeatureKind, where: str) -> np.ndarray[Any, Any]:
    """The values of a feature's column, shape (rows,): float64, or object of str; a null of any sort is NaN.

    Raises Rejected, naming file (`where`) and column, when the type is not one that the kind allows.
    """
    found = check_kind(column, name, kind, where)
    if pa.types.is_null(found):
        fill = np.nan
        return np.full(len(column), fill, dtype=object if kind is FeatureKind.category else np.float64)
    if kind is FeatureKind.category:
        values = column.cast(pa.string()).to_pandas().to_numpy(dtype=object, copy=True)
        values[np.equal(values, NONE)] = np.nan
        return values  # type: ignore[no-any-return]
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)  # type: ignore[no-any-return]


def check_kind(column: pa.ChunkedArray, name: str, kind: FeatureKind, where: str) -> pa.DataType:
    """The type of a column's values, of a dictionary's too.

    Raises Rejected, naming file (`where`) and column, when it is not one that the kind allows.
    """
    found = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    text = found in TEXTS or pa.types.is_integer(found)
    numeric = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    if pa.types.is_null(found):
        return found
    if kind is FeatureKind.category and not text:
        raise _wrong_type(name, found, "text", where)
    if kind is FeatureKind.flag and not pa.types.is_boolean(found):
        raise _wrong_type(name, found, "true or false", where)
    if kind is FeatureKind.number and not numeric:
        raise _wrong_type(name, found, "a number", where)
    return found


def _wrong_type(name: str, found: pa.DataType, wanted: str, where: str) -> Rejected:
    return Rejected(
        f"{where}: the column {name} is {found}, and the spec wants {wanted}: deliver it so, or change the spec."
    )
