"""Behaviour probes: what a holdout does not have, asked of real pipelines."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from jobs.behaviour import probe
from jobs.errors import Misconfigured
from jobs.predictor import Predictor
from jobs.spec import Bounds, Feature, FeatureKind
from jobs.spec_behaviour import Behaviour, Direction, Invariance
from model_registry.codec import from_json, to_json
from model_registry.evidence import Check, GateReport, Severity
from model_registry.rules import Mode

FEATURES = {
    "colour": Feature(kind=FeatureKind.category),
    "price": Feature(kind=FeatureKind.number, required=True, at_least=0, at_most=1000),
    "weight": Feature(kind=FeatureKind.number),
    "wrapped": Feature(kind=FeatureKind.flag),
}
STANDING = ["a null", "an unseen category", "an empty text", "an extreme value", "nothing but what is required"]
CHANCE = Bounds(at_least=0, at_most=1)
NUMBERS = ["price", "weight", "wrapped"]


def toys(rows: int = 400, nulls: float = 0.1) -> pd.DataFrame:
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "colour": random.choice(["red", "green", "blue"], rows).astype(object),
            "price": random.gamma(2, 40, rows).clip(0, 999),
            "weight": random.normal(3, 1, rows),
            "wrapped": (random.random(rows) < 0.3).astype(float),
        }
    )
    for name in ("colour", "weight", "wrapped"):
        frame.loc[random.random(rows) < nulls, name] = np.nan
    return frame


def target(rows: pd.DataFrame) -> Any:
    return (rows["price"] / 60 + (rows["colour"] == "red") > 1.5).to_numpy().astype(int)


def linear(learn: Any, **encode: Any) -> Pipeline:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    one_hot = OneHotEncoder(**({"handle_unknown": "ignore"} | encode))
    return make_pipeline(make_column_transformer((one_hot, ["colour"]), (numbers, NUMBERS)), learn)


def histogram() -> Pipeline:
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    prepare = make_column_transformer((encode, ["colour"]), remainder="passthrough")
    return make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=8, random_state=0))


def fitted(pipeline: Any, task: str = "classification", rows: pd.DataFrame | None = None) -> Predictor:
    rows = toys() if rows is None else rows
    return Predictor(pipeline.fit(rows, target(rows)), task, {n: f.kind.value for n, f in FEATURES.items()})


def asked(predictor: Predictor, behaviour: Behaviour, bounds: Bounds = CHANCE, **features: Feature) -> dict[str, Check]:
    checks = probe(predictor, toys(), FEATURES | features, bounds, behaviour, seed=1)
    return {check.name.removeprefix("scores with "): check for check in checks}


@pytest.mark.parametrize(
    "pipeline",
    [linear(LogisticRegression()), linear(GradientBoostingClassifier(n_estimators=5)), histogram()],
    ids=["linear", "gradient boosting", "histogram trees"],
)
def test_a_sound_pipeline_holds_every_standing_probe(pipeline: Pipeline) -> None:
    checks = asked(fitted(pipeline), Behaviour())
    assert list(checks) == STANDING
    assert [c.sentence() for c in checks.values() if not c.passed] == []
    assert {c.severity for c in checks.values()} == {Severity.error}
    assert checks["an extreme value"].observed == "all 4 hold"
    assert checks["a null"].observed == "all 3 hold"  # rows without a price are rejected before


def test_a_pipeline_that_cannot_take_nulls_is_told_what_to_do() -> None:
    prepare = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["colour"]), remainder="passthrough")
    learnt = fitted(make_pipeline(prepare, LogisticRegression(max_iter=5000)), rows=toys(nulls=0))
    behaviour = Behaviour(rows=20)
    checks = probe(learnt, toys(nulls=0), FEATURES, CHANCE, behaviour, seed=1)
    null = checks[0]
    assert (null.passed, null.column, null.rows) == (False, "weight, wrapped", 40)
    assert null.observed == "2 of 3 features fail: impute it in the pipeline, or mark it required"
    assert null.examples[0].startswith("weight null: The pipeline cannot score these rows: ValueError: Input")
    required = FEATURES | {n: Feature(kind=FEATURES[n].kind, required=True) for n in ("weight", "wrapped")}
    assert probe(learnt, toys(nulls=0), required, CHANCE, behaviour, seed=1)[0].passed


@pytest.mark.parametrize("kind", ["an unseen category", "an empty text"])
def test_an_encoder_that_knows_no_unknown_is_named(kind: str) -> None:
    check = asked(fitted(linear(LogisticRegression(), handle_unknown="error")), Behaviour())[kind]
    assert (check.passed, check.column, check.rows) == (False, "colour", 200)
    assert "handle_unknown" in str(check.observed)


def test_a_line_without_end_leaves_the_bounds_until_its_features_are_bounded() -> None:
    learnt = fitted(linear(LinearRegression()), "regression")
    bounds = Bounds(at_least=-50, at_most=50)
    check = asked(learnt, Behaviour(), bounds)["an extreme value"]
    assert (check.passed, check.column) == (False, "weight")
    assert "give it at_least and at_most" in str(check.observed)
    assert any(e.startswith("weight 1e+30: score ") for e in check.examples)
    weight = Feature(kind=FeatureKind.number, at_least=0, at_most=10)
    assert asked(learnt, Behaviour(), bounds, weight=weight)["an extreme value"].passed


@pytest.mark.parametrize(
    ("bounds", "extreme", "passed"),
    [
        (Bounds(), 1e30, True),
        (Bounds(), 1e308, False),  # 10 times as much is infinite
        (Bounds(at_most=1e32), 1e30, True),
        (Bounds(at_most=1e30), 1e30, False),
        (Bounds(at_least=-1e32), 1e30, True),
        (Bounds(at_least=-1e30), 1e30, False),
    ],
)
def test_every_end_of_the_bounds_counts(bounds: Bounds, extreme: float, passed: bool) -> None:
    rows = pd.DataFrame({"price": [1.0, 2.0, 3.0]})
    line = make_pipeline(LinearRegression(fit_intercept=False)).fit(rows, 10 * rows["price"])
    features, behaviour = {"price": Feature(kind=FeatureKind.number, required=True)}, Behaviour(extreme=extreme)
    checks = probe(Predictor(line, "regression", {"price": "number"}), rows, features, bounds, behaviour, seed=1)
    assert [c.passed for c in checks] == [True, True, True, passed, True]


def test_a_number_that_trees_cannot_read_is_a_failed_check() -> None:
    forest = fitted(make_pipeline(SimpleImputer(), RandomForestRegressor(3, random_state=0)), "regression", coded())
    numbers = {n: Feature(kind=FeatureKind.number) for n in FEATURES}
    for extreme, passed in ((1e30, True), (1e300, False)):
        check = probe(forest, coded(), numbers, Bounds(), Behaviour(extreme=extreme), seed=1)[3]
        assert check.passed is passed, check.sentence()
    assert "value too large for dtype" in check.examples[0]


def coded() -> pd.DataFrame:
    return toys().assign(colour=lambda rows: rows["colour"].eq("red").astype(float))


class Odd(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Gives what it is told to: not a number for a null, or raises what no library should."""

    def __init__(self, raises: bool = False) -> None:
        self.raises = raises

    def fit(self, rows: pd.DataFrame, target: Any) -> "Odd":
        self.fitted_ = True
        return self

    def predict(self, rows: pd.DataFrame) -> Any:
        if self.raises and rows["weight"].isna().any():
            raise KeyError("secret")
        return rows["weight"].to_numpy() * 0


def test_scores_that_are_not_numbers_fail() -> None:
    found = probe(fitted(make_pipeline(Odd()), "regression"), toys(nulls=0), FEATURES, Bounds(), Behaviour(), seed=1)
    assert [c.passed for c in found] == [False, True, True, True, False]
    assert (found[0].examples, found[0].column, found[0].rows) == (("weight null: score nan",), "weight", 200)
    assert found[4].examples == ("colour, weight, wrapped null: score nan",)


def test_whatever_a_pipeline_raises_is_an_answer() -> None:
    learnt = fitted(make_pipeline(Odd(raises=True)), "regression")
    behaviour = Behaviour(directions=(Direction(feature="price", add=1),))
    found = asked(learnt, behaviour, Bounds())
    assert not found["a null"].passed
    assert not found["score when price + 1"].passed
    assert "KeyError" in str(found["score when price + 1"].observed)


def test_a_score_follows_its_feature() -> None:
    learnt = fitted(linear(LogisticRegression()))  # grows with the price
    up, down, most = (
        Direction(feature="price", add=100, score="up"),
        Direction(feature="price", times=1.5, score="down", mode=Mode.warn),
        Direction(feature="price", times=0.5, score="down", share=0.9),
    )
    found = asked(learnt, Behaviour(directions=(up, down, most)))
    assert found["score when price + 100"].passed
    falls = found["score when price * 1.5"]
    assert (falls.passed, falls.severity) == (False, Severity.warning)
    assert falls.expected == "finite scores, at least 0, at most 1, not higher, for at least 100 % of the rows"
    assert found["score when price * 0.5"].passed
    tolerant = Direction(feature="price", times=1.5, score="down", tolerance=1)
    assert asked(learnt, Behaviour(directions=(tolerant,)))["score when price * 1.5"].passed


def test_rows_that_the_change_would_reject_are_left_out() -> None:
    learnt = fitted(linear(LogisticRegression()))
    some = asked(learnt, Behaviour(rows=400, directions=(Direction(feature="price", add=900),)))
    kept = int((toys()["price"] + 900 <= 1000).sum())
    assert 0 < kept < 400
    assert f"of {kept} rows" in str(some["score when price + 900"].observed)
    none = asked(learnt, Behaviour(directions=(Direction(feature="price", add=2000),)))["score when price + 2000"]
    assert (none.passed, none.observed) == (
        False,
        "no row of the holdout that could be changed: choose another change, or mode: off",
    )


@pytest.mark.parametrize("feature", ["colour", "wrapped", "weight"])
def test_what_a_score_depends_on_is_no_invariance(feature: str) -> None:
    rows = toys()
    wanted = {"colour": rows["colour"] == "red", "wrapped": rows["wrapped"] == 1, "weight": rows["weight"] > 3}[feature]
    pipeline = linear(LogisticRegression(C=100)).fit(rows, wanted.astype(int))
    learnt = Predictor(pipeline, "classification", {n: f.kind.value for n, f in FEATURES.items()})
    for name in ("colour", "wrapped", "weight"):
        found = asked(learnt, Behaviour(invariances=(Invariance(feature=name, at_most=0.45),)))
        assert found[f"score when {name} is swapped"].passed is (name != feature)
    allowed = asked(learnt, Behaviour(invariances=(Invariance(feature=feature, at_most=1.0),)))
    assert allowed[f"score when {feature} is swapped"].passed


def test_a_share_of_the_rows_may_be_enough() -> None:
    learnt = fitted(linear(LogisticRegression()))
    name = "score when colour is swapped"
    observed = str(asked(learnt, Behaviour(invariances=(Invariance(feature="colour", at_most=0.1),)))[name].observed)
    held = float(observed.split("%", maxsplit=1)[0]) / 100
    assert 0.05 < held < 0.95
    for share, passed in ((held - 0.01, True), (held + 0.01, False)):
        asks = Behaviour(invariances=(Invariance(feature="colour", at_most=0.1, share=share),))
        assert asked(learnt, asks)[name].passed is passed


def test_one_value_alone_cannot_be_swapped() -> None:
    rows = toys().assign(colour="red")
    learnt = fitted(linear(LogisticRegression()))
    asks = Behaviour(invariances=(Invariance(feature="colour", at_most=1),))
    check = probe(learnt, rows, FEATURES, CHANCE, asks, seed=1)[-1]
    assert not check.passed
    assert "could be changed" in str(check.observed)


def test_what_is_off_stays_visible_and_what_warns_lets_pass() -> None:
    learnt = fitted(linear(LogisticRegression(), handle_unknown="error"))
    direction = Direction(feature="price", add=1, mode=Mode.off)
    invariance = Invariance(feature="colour", at_most=0, mode=Mode.off)
    off = Behaviour(mode=Mode.off, directions=(direction,), invariances=(invariance,))
    found = asked(learnt, off)
    assert {(c.passed, c.observed, c.severity) for c in found.values()} == {(True, "not probed (off)", Severity.off)}
    assert len(found) == 7
    warned = GateReport("behaviour", "toys", tuple(asked(learnt, Behaviour(mode=Mode.warn)).values()))
    assert (warned.passed, len(warned.warnings)) == (True, 3)
    assert not GateReport("behaviour", "toys", tuple(asked(learnt, Behaviour()).values())).passed


def test_rows_are_left_as_they_were_and_the_same_seed_gives_the_same_checks() -> None:
    learnt, rows = fitted(histogram()), toys()
    asks = Behaviour(rows=50, invariances=(Invariance(feature="weight", at_most=0.01),))
    first = probe(learnt, rows, FEATURES, CHANCE, asks, seed=1)
    pd.testing.assert_frame_equal(rows, toys())
    assert probe(learnt, rows, FEATURES, CHANCE, asks, seed=1) == first
    assert probe(learnt, rows, FEATURES, CHANCE, asks, seed=2) != first
    report = GateReport("behaviour", "toys", first)
    assert from_json(GateReport, to_json(report)) == report


def test_no_rows_are_no_evidence() -> None:
    with pytest.raises(Misconfigured, match="no rows to probe"):
        probe(fitted(histogram()), toys().head(0), FEATURES, CHANCE, Behaviour(), seed=1)


@given(
    slope=st.floats(-5, 5).filter(lambda s: abs(s) > 1e-3),
    add=st.floats(-50, 50).filter(lambda a: abs(a) > 1e-3),
    tolerance=st.floats(0, 10),
)
@settings(max_examples=40, deadline=None)
def test_a_line_moves_by_its_slope(slope: float, add: float, tolerance: float) -> None:
    rows = pd.DataFrame({"price": np.linspace(-1, 1, 30)})
    line = make_pipeline(LinearRegression()).fit(rows, slope * rows["price"])
    learnt = Predictor(line, "regression", {"price": "number"})
    features = {"price": Feature(kind=FeatureKind.number)}
    asks = {"feature": "price", "add": add, "tolerance": tolerance}
    directions = (Direction(score="up", **asks), Direction(score="down", **asks))
    up, down = probe(learnt, rows, features, Bounds(), Behaviour(mode="off", directions=directions), seed=0)[-2:]
    if not math.isclose(abs(slope * add), tolerance, rel_tol=1e-6):
        assert up.passed is (slope * add > -tolerance)
        assert down.passed is (slope * add < tolerance)
