"""What the fitted transformers do to columns.

Encoders are not written anew: each key, a null and a value that is no key go through the fitted encoder itself, and
what comes out is the table.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from jobs.compiled.expressions import Coded, Expression, Lookups, Text
from jobs.compiled.form import Flags, NotCompiledError, Number, Step

UNKNOWN = "\0 a value that is no key"
FINITE = Step("refuse_infinite")
SMALL, LARGE = 1 << 16, 1 << 24
"""Cells of a table of codes and outputs: up to so many it is laid out, and beyond so many it is not made at all."""
Frame = Any


@dataclass(frozen=True)
class Matrix:
    """The columns between two steps of a pipeline, and whether scikit-learn holds them in a sparse matrix."""

    columns: tuple[Expression, ...]
    sparse: bool = False


def transform(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
    """The columns after a fitted transformer. Raises NotCompiledError for one that is not covered."""
    if step is None or (isinstance(step, str) and step == "passthrough"):
        return given
    name = type(step).__name__
    rule = RULES.get(name)
    if rule is None or not type(step).__module__.startswith("sklearn."):
        raise NotCompiledError(f"{name} is not covered")
    return rule(step, given, lookups)


def _pipeline(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
    for _, inner in step.steps:
        given = transform(inner, given, lookups)
    return given


def _column_transformer(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
    if step.transformer_weights:
        raise NotCompiledError("ColumnTransformer with transformer_weights is not covered")
    if given.sparse:
        raise NotCompiledError("ColumnTransformer on a sparse matrix is not covered")
    found: list[Expression] = []
    for column in given.columns:  # those that nobody takes, too
        lookups.only_check(column)
    for name, inner, _ in step.transformers_:
        places = step._transformer_to_input_indices[name]  # noqa: SLF001 - the only place where all kinds are resolved
        if len(places) and not (isinstance(inner, str) and inner == "drop"):
            found += transform(inner, Matrix(tuple(given.columns[i] for i in places)), lookups).columns
    return Matrix(tuple(found), sparse=bool(step.sparse_output_))


def _feature_union(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
    if step.transformer_weights:
        raise NotCompiledError("FeatureUnion with transformer_weights is not covered")
    parts = [transform(inner, given, lookups) for _, inner in step.transformer_list if inner != "drop"]
    return Matrix(tuple(c for part in parts for c in part.columns), any(part.sparse for part in parts))


def _function(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
    if step.func is not None:
        raise NotCompiledError("FunctionTransformer with code is not covered, only one without a function")
    if not step.validate:
        return given
    checks = (Step("refuse_null"), FINITE)
    return Matrix(tuple(lookups.stepped(column, *checks) for column in given.columns), given.sparse)


def _imputer(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
    kinds = {isinstance(column, Text) for column in given.columns}
    if given.sparse or len(kinds) > 1:
        raise NotCompiledError("SimpleImputer on a sparse matrix, or on texts and numbers at once, is not covered")
    of_nulls = isinstance(step.missing_values, float) and np.isnan(step.missing_values)
    if not of_nulls and (True in kinds or not isinstance(step.missing_values, int | float)):
        raise NotCompiledError("SimpleImputer with missing_values other than NaN or a number is not covered")
    found = []
    for column, fill in zip(given.columns, step.statistics_, strict=True):
        is_empty = not isinstance(fill, str) and (fill is None or np.isnan(fill))
        if is_empty and not step.keep_empty_features:
            if not isinstance(column, Text):
                lookups.only_check(lookups.stepped(column, FINITE))
            continue
        found.append(_filled(column, fill, None if of_nulls else float(step.missing_values), lookups))
    flagged = step.indicator_.features_ if step.add_indicator else ()
    missing = None if of_nulls else float(step.missing_values)
    return Matrix((*found, *(_indicator(given.columns[place], missing, lookups) for place in flagged)))


def _filled(column: Expression, fill: Any, missing: float | None, lookups: Lookups) -> Expression:
    if isinstance(column, Text):
        if not isinstance(fill, str):
            raise NotCompiledError(f"SimpleImputer fills the text {column.feature} with what is no text")
        return column if column.null is not None else Text(column.feature, fill)
    if missing is None:
        return lookups.stepped(column, FINITE, Step("fill", (float(fill),)))
    return lookups.stepped(column, FINITE, Step("refuse_null"), Step("replace", (missing, float(fill))))


def _indicator(column: Expression, missing: float | None, lookups: Lookups) -> Expression:
    if isinstance(column, Text):
        lookup = lookups.add(column.feature, (), np.empty(0))
        return lookups.coded(lookup, np.array([float(column.null is None), 0.0]))
    return lookups.stepped(column, Step("is_null") if missing is None else Step("is", (missing,)))


def _scaler(steps: Callable[[Any, int, bool], list[Step]]) -> Callable[[Any, Matrix, Lookups], Matrix]:
    def rule(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
        found = [
            lookups.stepped(column, FINITE, *steps(step, place, given.sparse))
            for place, column in enumerate(given.columns)
        ]
        return Matrix(tuple(found), given.sparse)

    return rule


def _standard(step: Any, place: int, sparse: bool) -> list[Step]:  # noqa: FBT001
    found = [Step("subtract", (float(step.mean_[place]),))] if step.with_mean else []
    return found + (_divided(step.scale_, place, sparse=sparse) if step.with_std else [])


def _robust(step: Any, place: int, sparse: bool) -> list[Step]:  # noqa: FBT001
    found = [Step("subtract", (float(step.center_[place]),))] if step.with_centering else []
    return found + (_divided(step.scale_, place, sparse=sparse) if step.with_scaling else [])


def _min_max(step: Any, place: int, sparse: bool) -> list[Step]:  # noqa: ARG001, FBT001
    found = [Step("multiply", (float(step.scale_[place]),)), Step("add", (float(step.min_[place]),))]
    low, high = step.feature_range
    return [*found, Step("clip", (float(low), float(high)))] if step.clip else found


def _max_abs(step: Any, place: int, sparse: bool) -> list[Step]:  # noqa: FBT001
    found = _divided(step.scale_, place, sparse=sparse)
    return [*found, Step("clip", (-1.0, 1.0))] if getattr(step, "clip", False) else found


def _divided(scale: Any, place: int, *, sparse: bool) -> list[Step]:
    if scale is None:
        return []
    return [Step("multiply", (float(1 / scale[place]),))] if sparse else [Step("divide", (float(scale[place]),))]


def _encoder(step: Any, given: Matrix, lookups: Lookups) -> Matrix:
    if given.sparse:
        raise NotCompiledError(f"{type(step).__name__} on a sparse matrix is not covered")
    kind = getattr(step, "dtype", np.float64)
    if np.dtype(kind) != np.float64:
        raise NotCompiledError(f"{type(step).__name__} with dtype {np.dtype(kind)} is not covered, only float64")
    widths = _widths(step)
    ends = np.cumsum(widths)
    found: list[Expression] = []
    for place, column in enumerate(given.columns):
        found += _encoded(step, place, column, lookups, slice(ends[place] - widths[place], ends[place]))
    return Matrix(tuple(found), sparse=bool(getattr(step, "sparse_output", False)))


def _widths(step: Any) -> list[int]:
    """How many columns come out for each that goes in."""
    name = type(step).__name__
    if name == "OneHotEncoder":
        return [int(n) for n in step._n_features_outs]  # noqa: SLF001 - there is no public count
    several = name == "TargetEncoder" and step.target_type_ == "multiclass"
    return [len(step.classes_) if several else 1] * len(step.categories_)


def _encoded(step: Any, place: int, column: Expression, lookups: Lookups, outputs: slice) -> list[Expression]:
    categories = step.categories_[place]
    if isinstance(column, Text):
        keys = [key for key in categories if isinstance(key, str)]
        texts = tuple(dict.fromkeys([*keys, *([column.null] if column.null is not None else [])]))
        lookup = lookups.add(column.feature, texts, np.empty(0))
        probes = np.array([*texts, np.nan if column.null is None else column.null, UNKNOWN], dtype=object)
    elif isinstance(column, Number):
        known = np.unique(np.array([key for key in categories if key == key], np.float64))  # noqa: PLR0124 - NaN
        lookup = lookups.add(column.feature, (), known, (*column.steps, FINITE))
        unknown = np.nextafter(np.abs(known).max(initial=1.0), np.inf)
        probes = np.array([*known, np.nan, unknown])
    else:
        lookup, probes = column.lookup, lookups.dense(column)
        lookups.stepped(column, FINITE)
        probes = np.where(np.isinf(probes), np.nan, probes)
    found, refused = _probe(step, place, probes, outputs)
    lookups.refused[lookup] |= refused
    if len(probes) * found.shape[1] <= SMALL:
        return [lookups.coded(lookup, table) for table in found.toarray().T]
    ends = found.indptr
    parts = [slice(start, end) for start, end in pairwise(ends)]
    return [Coded(lookup, 0.0, found.indices[part].astype(np.int32), found.data[part]) for part in parts]


def _probe(step: Any, place: int, probes: Any, outputs: slice) -> tuple[Any, Flags]:
    """What comes out for each probe, a sparse matrix with a column for each output, and which probes are refused."""
    import pandas as pd
    from scipy import sparse

    if not getattr(step, "sparse_output", False) and len(probes) * sum(_widths(step)) > LARGE:
        raise NotCompiledError(
            f"{type(step).__name__} with {len(probes):,} categories and {sum(_widths(step)):,} columns is covered with "
            f"a sparse output only"
        )
    if np.asarray(step.categories_[place]).dtype == object:
        probes = probes.astype(object)
    names = getattr(step, "feature_names_in_", range(len(step.categories_)))
    fixed = {i: np.repeat(np.asarray(step.categories_[i])[:1], len(probes)) for i in range(len(step.categories_))}
    fixed[place] = probes
    frame = pd.DataFrame({name: fixed[i] for i, name in enumerate(names)})
    refused = np.zeros(len(probes), np.bool_)
    parts = list(_in_parts(step, frame, outputs, refused, 0))
    return sparse.vstack(parts, format="csc"), refused


def _in_parts(step: Any, frame: Frame, outputs: slice, refused: Flags, start: int) -> Iterator[Any]:
    """What comes out for rows in order, in halves of halves until no half holds a row that is refused with others."""
    from scipy import sparse

    try:
        yield _outputs(step, frame, outputs)
    except ValueError:
        if len(frame) == 1:
            refused[start] = True
            yield sparse.csc_matrix((1, outputs.stop - outputs.start))
            return
        half = len(frame) // 2
        yield from _in_parts(step, frame.iloc[:half], outputs, refused, start)
        yield from _in_parts(step, frame.iloc[half:], outputs, refused, start + half)


def _outputs(step: Any, frame: Frame, outputs: slice) -> Any:
    from scipy import sparse

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of values that are no key, which are what is asked for
        found = step.transform(frame)
    found = found.tocsc()[:, outputs] if sparse.issparse(found) else np.asarray(found)[:, outputs]
    return sparse.csc_matrix(found.astype(np.float64))


RULES: dict[str, Callable[[Any, Matrix, Lookups], Matrix]] = {
    "ColumnTransformer": _column_transformer,
    "FeatureUnion": _feature_union,
    "FunctionTransformer": _function,
    "MaxAbsScaler": _scaler(_max_abs),
    "MinMaxScaler": _scaler(_min_max),
    "OneHotEncoder": _encoder,
    "OrdinalEncoder": _encoder,
    "Pipeline": _pipeline,
    "RobustScaler": _scaler(_robust),
    "SimpleImputer": _imputer,
    "StandardScaler": _scaler(_standard),
    "TargetEncoder": _encoder,
}
