"""Columns of thousands of categories: compiled and scored without a table of all categories and all of them again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from lightgbm import LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from jobs.compiled import compile_columns
from jobs.compiled.compile import compile_predictor
from jobs.compiled.form import NotCompiledError
from jobs.compiled.predictor import CompiledPredictor
from jobs.errors import Misconfigured
from jobs.predictor import Predictor
from jobs.spec import FeatureKind
from jobs.treat import feature_values

KEYS = 2_000
KINDS = {"c": "category", "x": "number"}


def table(size: int, seed: int, keys: int = KEYS) -> pa.Table:
    rng = np.random.default_rng(seed)
    texts = [f"id{n}" for n in [*range(min(keys, size)), *rng.integers(0, keys, max(0, size - keys))]]
    return pa.table({"c": pa.array(texts).dictionary_encode(), "x": rng.normal(size=size)})


def frame(rows: pa.Table) -> pd.DataFrame:
    return pd.DataFrame({n: feature_values(rows[n], n, FeatureKind(kind), "here") for n, kind in KINDS.items()})


def fit(encoder: Any, model: Any, rows: pa.Table) -> Predictor:
    known = frame(rows)
    pipeline = Pipeline([("p", make_column_transformer((encoder, ["c"]), remainder="passthrough")), ("m", model)])
    pipeline.fit(known, known["x"] + known["c"].str.len().fillna(0) % 3)
    return Predictor(pipeline, "regression", KINDS)


@pytest.mark.parametrize("fitted_as", ["forest", "lightgbm"])
def test_trees_over_a_column_for_each_key_look_at_the_code(fitted_as: str) -> None:
    model = (
        RandomForestRegressor(3, random_state=0)
        if fitted_as == "forest"
        else LGBMRegressor(n_estimators=3, num_leaves=400, min_child_samples=1, verbose=-1)
    )
    predictor = fit(OneHotEncoder(handle_unknown="ignore"), model, table(3 * KEYS, 0))
    compiled = CompiledPredictor(compile_predictor(predictor))
    trees: Any = compiled._model
    assert {column for column, *_ in trees._trees._laid_out} <= {KEYS}, "only the number"
    rows = pa.concat_tables([table(3_000, 1).cast(pa.schema([("c", pa.string()), ("x", pa.float64())])),
                             pa.table({"c": pa.array(["new", None, "id7"]), "x": [0.5, 1e9, np.nan]})])  # fmt: skip
    rows = rows if fitted_as == "lightgbm" else rows.slice(0, 3_002)
    np.testing.assert_array_equal(compiled.score(rows), predictor.score(frame(rows)))


@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(),
        OneHotEncoder(handle_unknown="ignore"),
        OrdinalEncoder(),
        TargetEncoder(target_type="continuous"),
    ],
)
def test_keys_are_looked_up_together_also_where_an_unknown_one_is_refused(
    encoder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = fit(encoder, Ridge(), table(3 * KEYS, 0))
    asked = 0
    look = compile_columns._outputs

    def counted(step: Any, rows: Any, outputs: slice) -> Any:
        nonlocal asked
        asked += len(rows)
        return look(step, rows, outputs)

    monkeypatch.setattr(compile_columns, "_outputs", counted)
    compiled = CompiledPredictor(compile_predictor(predictor))
    assert asked < 4 * KEYS
    rows = table(3_000, 1)
    np.testing.assert_allclose(compiled.score(rows), predictor.score(frame(rows)), rtol=1e-12, atol=1e-12)
    unknown = pa.table({"c": ["new"], "x": [0.5]})
    if getattr(encoder, "handle_unknown", "ignore") == "error":
        with pytest.raises(Misconfigured):
            compiled.score(unknown)
    else:
        np.testing.assert_allclose(compiled.score(unknown), predictor.score(frame(unknown)), rtol=1e-12)


def test_a_matrix_that_is_too_large_is_not_made() -> None:
    rows = table(6_000, 0, keys=4_200)
    predictor = fit(OneHotEncoder(sparse_output=False), Ridge(), rows)
    with pytest.raises(
        NotCompiledError, match=r"OneHotEncoder with 4,202 categories and 4,200 columns is covered with"
    ):
        compile_predictor(predictor)


ZERO = 1.0000000180025095e-35


@pytest.mark.parametrize(
    "number", [s * n for s in (1, -1) for n in (ZERO, np.nextafter(ZERO, 0), np.nextafter(ZERO, 1))]
)
def test_what_lightgbm_takes_for_zero_is_zero(number: float) -> None:
    known = pd.DataFrame({"x": np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 500)})
    pipeline = make_pipeline(make_column_transformer(("passthrough", ["x"])), LGBMRegressor(n_estimators=5, verbose=-1))
    predictor = Predictor(pipeline.fit(known, (known.x >= 0) * 3.0 + known.x), "regression", {"x": "number"})
    compiled = CompiledPredictor(compile_predictor(predictor))
    rows = pd.DataFrame({"x": [number, 0.0]})
    np.testing.assert_array_equal(compiled.score(pa.Table.from_pandas(rows)), predictor.score(rows))


@pytest.mark.parametrize("encoder", [OneHotEncoder(handle_unknown="ignore"), OrdinalEncoder()])
def test_an_encoder_behind_an_imputer_with_an_indicator(encoder: Any) -> None:
    rng = np.random.default_rng(0)
    texts = [None if n < 0.2 else f"id{int(9 * n)}" for n in rng.random(300)]
    rows = pa.table({"c": texts, "x": rng.normal(size=300)})
    filled = make_pipeline(SimpleImputer(strategy="most_frequent", add_indicator=True), encoder)
    predictor = fit(filled, Ridge(), rows)
    compiled = CompiledPredictor(compile_predictor(predictor))
    np.testing.assert_allclose(compiled.score(rows), predictor.score(frame(rows)), rtol=1e-12)


def test_a_first_step_that_passes_through() -> None:
    rows = table(300, 0, keys=5)
    predictor = fit(OneHotEncoder(), Ridge(), rows)
    predictor.pipeline.steps.insert(0, ("a", "passthrough"))
    compiled = CompiledPredictor(compile_predictor(predictor))
    np.testing.assert_allclose(compiled.score(rows), predictor.score(frame(rows)), rtol=1e-12)


@pytest.mark.parametrize("nested", [False, True])
def test_an_infinity_is_refused_also_in_a_column_that_an_imputer_drops(nested: bool) -> None:
    known = pd.DataFrame({"x": np.arange(50.0), "y": np.full(50, np.nan)})
    if nested:
        known["y"] = np.arange(50.0)
        keep = make_column_transformer(("passthrough", [0]))
        prepare = make_pipeline(make_column_transformer((SimpleImputer(), ["x", "y"])), keep)
    else:
        prepare = make_column_transformer((SimpleImputer(), ["x", "y"]))
    pipeline = Pipeline([("p", prepare), ("m", Ridge())])
    with pytest.warns(UserWarning, match="without any observed") if not nested else pytest.MonkeyPatch.context():
        pipeline.fit(known, known.x)
        predictor = Predictor(pipeline, "regression", {"x": "number", "y": "number"})
        compiled = CompiledPredictor(compile_predictor(predictor))
        good = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, np.nan]})
        np.testing.assert_allclose(compiled.score(pa.Table.from_pandas(good)), predictor.score(good), rtol=1e-12)
        bad = pd.DataFrame({"x": [1.0], "y": [np.inf]})
        for score, rows in ((predictor.score, bad), (compiled.score, pa.Table.from_pandas(bad))):
            with pytest.raises(Misconfigured):
                score(rows)  # type: ignore[operator]
