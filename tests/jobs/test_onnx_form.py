"""The ONNX form of real pipelines: kept where it agrees on real rows, with one sentence where it is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skl2onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler

from jobs import onnx_form
from jobs.onnx_form import AGREEMENT, OnnxForm, run_onnx, to_onnx
from jobs.predictor import Predictor
from jobs.spec_file import load_pipeline_module, load_spec

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"colour": "category", "shop": "category", "price": "number", "wrapped": "flag"}


def toys(rows: int = 500, nulls: float = 0.1) -> pd.DataFrame:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "colour": random.choice(["red", "green", "blue"], rows).astype(object),
            "shop": random.choice(["north", "south"], rows).astype(object),
            "price": random.normal(1e6, 1e5, rows),
            "wrapped": (random.random(rows) < 0.3).astype(float),
        }
    )
    for name in KINDS:
        frame.loc[random.random(rows) < nulls, name] = np.nan
    return frame


def prepared(learn: Any, fill_text: bool = False, encode: Any = None) -> Pipeline:
    encode = encode or OneHotEncoder(handle_unknown="ignore")
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), encode) if fill_text else encode
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_pipeline(make_column_transformer((texts, ["colour", "shop"]), (numbers, ["price", "wrapped"])), learn)


def fitted(pipeline: Pipeline, rows: pd.DataFrame, task: str = "classification") -> Predictor:
    wanted = (rows["colour"] == "red") + rows["price"].fillna(0) / 1e6
    return Predictor(
        pipeline.fit(rows, (wanted > 1.2).astype(int) if task == "classification" else wanted), task, KINDS
    )


RARE = OneHotEncoder(min_frequency=0.35, handle_unknown="infrequent_if_exist")
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)


@pytest.mark.parametrize(
    ("pipeline", "task", "precision", "closest"),
    [
        (prepared(LogisticRegression()), "classification", "float64", 1e-12),
        (prepared(LogisticRegression(), fill_text=True), "classification", "float64", 1e-12),
        (prepared(Ridge()), "regression", "float64", 1e-12),
        (prepared(LogisticRegression(), encode=ORDINAL), "classification", "float64", 1e-12),
        (prepared(GradientBoostingClassifier(n_estimators=10)), "classification", "float64", 1e-6),
        (prepared(RandomForestRegressor(5, random_state=0)), "regression", "float64", 1e-6),
        (prepared(make_pipeline(PolynomialFeatures(), Ridge())), "regression", "float32", 1e-5),
    ],
    ids=["linear", "text imputed", "ridge", "ordinal", "gradient boosting", "forest", "polynomials"],
)
def test_what_converts_agrees_on_rows_with_nulls(pipeline: Any, task: str, precision: str, closest: float) -> None:
    rows = toys()
    predictor = fitted(pipeline, rows, task)
    form = to_onnx(predictor, rows)
    assert form.model is not None, form.reason
    assert form.difference is not None
    assert form.difference <= closest
    assert form.precision == precision
    assert form.reason.startswith(f"ONNX in {precision} agrees with scikit-learn on 500 rows")
    again = run_onnx(form.model, predictor, rows.head(20), precision)
    assert np.abs(again - predictor.score(rows.head(20))).max() <= 2 * AGREEMENT
    assert to_onnx(predictor, rows) == form  # the same bytes


def test_an_example_model_of_this_repository_converts() -> None:
    spec = load_spec(ROOT / "models", "arrival_minutes")
    random = np.random.default_rng(1)
    rows = pd.DataFrame({name: random.random(2000) * 100 for name in spec.features})
    for name in ("carrier", "origin", "dest"):
        rows[name] = random.choice(list("abcdefghijklmnop"), 2000, p=[0.5, *[0.5 / 15] * 15]).astype(object)
        rows.loc[random.random(2000) < 0.05, name] = np.nan
    pipeline = load_pipeline_module(ROOT / "models", "arrival_minutes").build().fit(rows, rows["distance"])
    kinds = {name: feature.kind.value for name, feature in spec.features.items()}
    form = to_onnx(Predictor(pipeline, "regression", kinds), rows)
    assert form.model is not None, form.reason


def histogram() -> Pipeline:
    prepare = make_column_transformer((ORDINAL, ["colour", "shop"]), remainder="passthrough")
    return make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=5))


class Own(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    def fit(self, rows: Any, target: Any) -> "Own":
        self.fitted_ = True
        return self

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows))


def test_histogram_trees_are_said_not_to_convert() -> None:
    form = to_onnx(fitted(histogram(), toys()), toys())
    says = "The pipeline does not convert to ONNX: histogram trees (HistGradientBoostingClassifier) are not supported."
    assert form == OnnxForm(None, None, says)


@pytest.mark.parametrize(
    ("pipeline", "task"),
    [
        (prepared(Own()), "regression"),
        (
            prepared(Ridge(), encode=make_pipeline(OneHotEncoder(min_frequency=0.35), StandardScaler(with_mean=False))),
            "regression",
        ),
        (make_pipeline(make_column_transformer((RARE, ["colour"])), Ridge()), "regression"),
        (make_pipeline(make_column_transformer((SimpleImputer(add_indicator=True), ["price"])), Ridge()), "regression"),
        (prepared(LogisticRegression(), encode=ORDINAL).set_params(steps=[("own", Own())]), "regression"),
    ],
)
def test_what_does_not_convert_is_one_sentence_without_values(pipeline: Any, task: str) -> None:
    form = to_onnx(fitted(pipeline, toys(), task), toys())
    assert form.model is None
    assert form.reason.startswith("The pipeline does not convert to ONNX: ")
    assert form.reason.endswith(".")
    assert len(form.reason) < 300
    assert "\n" not in form.reason
    assert not any(value in form.reason for value in ("red", "green", "north"))


def test_what_disagrees_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = toys()
    predictor = fitted(prepared(LogisticRegression()), rows)
    monkeypatch.setattr(onnx_form, "NULL_TEXT", "red")  # a null that is read as something else
    form = to_onnx(predictor, rows)
    assert form.model is None
    assert form.difference is not None
    assert form.difference > AGREEMENT
    assert "of the rows, all of them with nulls; at most 0.0001 is allowed" in form.reason


def test_scores_that_are_not_numbers_never_agree() -> None:
    rows = toys(nulls=0)[["price"]]
    predictor = Predictor(make_pipeline(LinearRegression()).fit(rows, rows["price"]), "regression", {"price": "number"})
    predictor.pipeline.steps[-1][1].intercept_ = np.nan
    form = to_onnx(predictor, rows)
    assert (form.model, form.difference) == (None, np.inf)


def test_what_is_missing_or_too_large_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = fitted(prepared(LogisticRegression()), toys())
    assert "no rows to compare" in to_onnx(predictor, toys().head(0)).reason
    with monkeypatch.context() as patch:
        patch.setattr(onnx_form, "MOST_NUMBERS", 10)
        assert "too large to convert" in to_onnx(predictor, toys()).reason
    with monkeypatch.context() as patch:
        patch.setattr(onnx_form, "MOST_CELLS", 150)
        assert "columns, and ONNX would keep all their zeros" in to_onnx(predictor, toys()).reason
        patch.setattr(onnx_form, "FEWEST_ROWS", 2)
        assert to_onnx(predictor, toys()).model is not None
    monkeypatch.setattr(onnx_form, "PACKAGES", ("skl2onnx", "no_such_runtime"))
    assert to_onnx(predictor, toys()) == OnnxForm(None, None, "The package no_such_runtime is not installed.")


def test_nothing_of_the_conversion_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for pipeline in (prepared(LogisticRegression()), prepared(GradientBoostingClassifier(n_estimators=2)), histogram()):
        to_onnx(fitted(pipeline, toys()), toys())
    assert capfd.readouterr() == ("", "")
    assert skl2onnx.__version__


@given(
    st.lists(
        st.tuples(st.sampled_from(["red", "green", "blue", "", "new", None]), st.none() | st.floats(-1e9, 1e9)),
        min_size=1,
        max_size=30,
    )
)
@settings(max_examples=30, deadline=None)
def test_rows_of_any_sort_agree(values: list[tuple[str | None, float | None]]) -> None:
    rows = pd.DataFrame(values, columns=["colour", "price"]).astype({"colour": object, "price": float})
    rows.loc[rows["colour"].isna(), "colour"] = np.nan
    rows = rows.assign(shop="north", wrapped=1.0)
    scores = run_onnx(LINEAR[1].model or b"", LINEAR[0], rows, "float64")
    assert np.abs(scores - LINEAR[0].score(rows)).max() <= AGREEMENT


def _linear() -> tuple[Predictor, OnnxForm]:
    predictor = fitted(prepared(LogisticRegression()), toys())
    return predictor, to_onnx(predictor, toys())


LINEAR = _linear()
