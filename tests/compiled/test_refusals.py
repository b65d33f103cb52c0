"""What is not covered says so in one sentence; what is read with another type is rejected as everywhere."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from compiled_rows import KINDS, compare, compiled, fitted, read, rows, target
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder

from jobs.compiled.compile import compile_predictor
from jobs.compiled.form import NotCompiledError
from jobs.errors import Misconfigured, Rejected

RNG = np.random.default_rng(0)
TRAIN = rows(RNG, 80)


class Doubled(TransformerMixin, BaseEstimator):
    """A user's own transformer."""

    def fit(self, x: object, y: object = None) -> Doubled:
        return self

    def transform(self, x: np.ndarray) -> np.ndarray:
        return 2 * x


def twice(x: np.ndarray) -> np.ndarray:
    return 2 * x


@pytest.mark.parametrize(
    ("step", "model", "reason"),
    [
        (
            FunctionTransformer(twice),
            Ridge(),
            "FunctionTransformer with code is not covered, only one without a function",
        ),
        (Doubled(), Ridge(), "Doubled is not covered"),
        (KNNImputer(), Ridge(), "KNNImputer is not covered"),
        ("passthrough", KNeighborsRegressor(), "KNeighborsRegressor is not covered"),
        (OneHotEncoder(dtype=np.float32), Ridge(), "OneHotEncoder with dtype float32 is not covered, only float64"),
    ],
)
def test_what_is_not_covered_says_so_in_one_sentence(step: object, model: object, reason: str) -> None:
    frame = read(TRAIN)
    prepare = ColumnTransformer([("n", make_pipeline(SimpleImputer(), step), ["size", "count"])])
    predictor = fitted(Pipeline([("p", prepare), ("l", model)]), frame, target(RNG, frame, 0), "regression")
    with pytest.raises(NotCompiledError) as refusal:
        compile_predictor(predictor)
    assert str(refusal.value) == f"The pipeline does not compile: {reason}."


def trees() -> object:
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    prepare = ColumnTransformer([("t", encode, ["color", "code"]), ("n", "passthrough", ["size", "new"])])
    frame = read(TRAIN)
    pipeline = Pipeline([("p", prepare), ("l", HistGradientBoostingRegressor(max_iter=4, min_samples_leaf=3))])
    return fitted(pipeline, frame, target(RNG, frame, 0), "regression")


def test_a_column_may_come_in_any_type_that_its_kind_allows() -> None:
    predictor = trees()
    _, mine = compiled(predictor)
    table = rows(RNG, 60, wild=0.2)
    nothing = pa.nulls(60)
    texts = table["color"].cast(pa.string())
    codes = table["code"].cast(pa.string())
    sizes = table["size"].combine_chunks()
    parts = [texts.slice(0, 20).dictionary_encode().chunk(0), texts.slice(20, 40).dictionary_encode().chunk(0)]
    changes = {
        "color": [texts, texts.cast(pa.large_string()), texts.cast(pa.string_view()), texts.dictionary_encode(),
                  nothing, table["code"], pa.chunked_array(parts)],
        "code": [codes, table["code"].cast(pa.int8()), table["code"].dictionary_encode(), nothing],
        "size": [table["count"], table["size"].cast(pa.float32()), nothing, table["count"].cast(pa.decimal128(9, 2)),
                 pa.chunked_array([sizes.slice(0, 7), sizes.slice(7)])],
        "new": [nothing],
    }  # fmt: skip
    for name, columns in changes.items():
        for column in columns:
            changed = table.set_column(table.column_names.index(name), name, column)
            assert compare(predictor, mine, changed, exact=True), (name, column.type)
            assert compare(predictor, mine, changed.slice(13, 20), exact=True), (name, column.type)
    assert mine.score(table.slice(0, 0)).shape == (0,)


def test_a_null_within_a_dictionary_is_a_null() -> None:
    predictor = trees()
    _, mine = compiled(predictor)
    table = rows(RNG, 6)
    places = pa.array([0, 1, 2, None, 1, 0], pa.int32())
    column = pa.DictionaryArray.from_arrays(places, pa.array(["red", None, "no such"]))
    plain = pa.array(["red", None, "no such", None, None, "red"])
    at = table.column_names.index("color")
    np.testing.assert_array_equal(
        mine.score(table.set_column(at, "color", column)), mine.score(table.set_column(at, "color", plain))
    )


def test_another_type_is_rejected_by_file_and_column() -> None:
    _, mine = compiled(trees())
    table = rows(RNG, 5)
    for name, column in {"color": table["size"], "size": table["new"], "new": table["size"]}.items():
        changed = table.set_column(table.column_names.index(name), name, column)
        with pytest.raises(Rejected, match=f"day=1/a.parquet: the column {name} is .*, and the spec wants"):
            mine.score(changed, "day=1/a.parquet")


def test_a_null_that_the_model_never_learned_from_is_one_sentence() -> None:
    frame = read(rows(np.random.default_rng(1), 50, nulls=0.0))
    prepare = ColumnTransformer([("n", "passthrough", ["size", "count"])])
    predictor = fitted(Pipeline([("p", prepare), ("l", Ridge())]), frame, target(RNG, frame, 0), "regression")
    _, mine = compiled(predictor)
    table = rows(RNG, 50, nulls=0.3)
    with pytest.raises(Misconfigured, match=r"cannot score these rows: the column size holds a null that it never"):
        mine.score(table)
    with pytest.raises(Misconfigured, match="cannot score these rows"):
        predictor.score(read(table))
    assert set(KINDS) == set(predictor.features)


def test_scoring_imports_neither_scikit_learn_nor_pandas_nor_mlflow() -> None:
    code = "import sys, jobs.compiled.predictor; print({'sklearn', 'pandas', 'mlflow', 'skops'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"
