"""Random cases for each model: raw scores to the last bit where trees are added, and 1e-12 elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from compiled_rows import compare, compiled, fitted, infinite, pick, read, rows, target
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    GammaRegressor,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from jobs.compiled import planes
from jobs.compiled.form import Trees
from jobs.compiled.planes import Planes

Rng = np.random.Generator
Build = Callable[[Rng], Any]
CASES = dict.fromkeys(["gradient boosting", "random forest", "extra trees", "decision tree"], 100) | {"histogram": 200}
TEXT, NUMBER = ["color", "shape", "code"], ["size", "price", "count", "new"]


def linear_columns() -> ColumnTransformer:
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), TEXT), ("n", numbers, NUMBER)])


def tree_columns(rng: Rng, *, fill: bool = False) -> ColumnTransformer:
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    return ColumnTransformer([("t", encode, TEXT), ("n", SimpleImputer() if fill else "passthrough", NUMBER)])


def histogram(kind: type, losses: list[str]) -> Build:
    def build(rng: Rng) -> Any:
        return kind(
            loss=pick(rng, losses),
            max_iter=int(rng.integers(1, 9)),
            max_leaf_nodes=int(pick(rng, [2, 5, 31])),
            min_samples_leaf=int(pick(rng, [1, 4])),
            early_stopping=False,
            categorical_features=pick(rng, [None, [0], [0, 1, 2]]) if rng.integers(2) else None,
        )

    return build


def forest(kind: type) -> Build:
    return lambda rng: kind(n_estimators=int(rng.integers(1, 6)), max_depth=pick(rng, [None, 3]), random_state=0)


CLASSIFIERS: dict[str, Build] = {
    "histogram": histogram(HistGradientBoostingClassifier, ["log_loss"]),
    "gradient boosting": lambda rng: GradientBoostingClassifier(n_estimators=4, init=pick(rng, [None, "zero"])),
    "random forest": forest(RandomForestClassifier),
    "extra trees": forest(ExtraTreesClassifier),
    "decision tree": lambda rng: DecisionTreeClassifier(max_depth=pick(rng, [None, 1, 4]), random_state=0),
}
REGRESSORS: dict[str, Build] = {
    "histogram": histogram(HistGradientBoostingRegressor, ["squared_error", "poisson", "gamma", "absolute_error"]),
    "gradient boosting": lambda rng: GradientBoostingRegressor(
        n_estimators=4, loss=pick(rng, ["huber", "squared_error"])
    ),
    "random forest": forest(RandomForestRegressor),
    "extra trees": forest(ExtraTreesRegressor),
    "decision tree": lambda rng: DecisionTreeRegressor(max_depth=pick(rng, [None, 1, 4]), random_state=0),
}
LINEAR_CLASSIFIERS: dict[str, Build] = {
    "logistic": lambda rng: LogisticRegression(C=float(pick(rng, [0.1, 10.0])), fit_intercept=bool(rng.integers(2))),
    "sgd": lambda rng: SGDClassifier(loss="log_loss", random_state=0),
}
LINEAR_REGRESSORS: dict[str, Build] = {
    "ridge": lambda rng: Ridge(fit_intercept=bool(rng.integers(2))),
    "lines": lambda rng: pick(rng, [LinearRegression(), Lasso(alpha=0.1), ElasticNet(alpha=0.1)]),
    "huber": lambda rng: HuberRegressor(),
    "sgd": lambda rng: SGDRegressor(random_state=0),
    "poisson": lambda rng: PoissonRegressor(alpha=1.0),
    "gamma": lambda rng: GammaRegressor(),
    "tweedie": lambda rng: TweedieRegressor(power=float(pick(rng, [0, 1.5])), link=pick(rng, ["auto", "log"])),
}


def run(prepare: ColumnTransformer, learn: Any, rng: Rng, classes: int, *, exact: bool, nulls: float) -> int:
    train = rows(rng, int(rng.integers(40, 90)), nulls=nulls)
    frame = read(train)
    pipeline = Pipeline([("prepare", prepare), ("learn", learn)])
    task = "classification" if classes else "regression"
    predictor = fitted(pipeline, frame, target(rng, frame, classes), task)
    _, mine = compiled(predictor)
    table = rows(rng, 40, wild=float(pick(rng, [0.0, 0.05, 0.3])))
    scored = compare(predictor, mine, train, exact=exact) + compare(predictor, mine, table, exact=exact)
    if rng.integers(4) == 0:
        compare(predictor, mine, infinite(rng, table), exact=exact)
    return scored


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_tree_classifiers_agree_to_the_last_bit(name: str) -> None:
    scored, cases = 0, CASES[name]
    for seed in range(cases):
        rng = np.random.default_rng(seed)
        classes = int(pick(rng, [2, 2, 3]))
        fill = name == "gradient boosting"
        exact, nulls = classes == 2, float(pick(rng, [0.0, 0.2]))
        scored += run(tree_columns(rng, fill=fill), CLASSIFIERS[name](rng), rng, classes, exact=exact, nulls=nulls)
    assert scored > cases


@pytest.mark.parametrize("name", REGRESSORS)
def test_tree_regressors_agree_to_the_last_bit(name: str) -> None:
    scored, cases = 0, CASES[name]
    for seed in range(cases):
        rng = np.random.default_rng(seed)
        fill = name == "gradient boosting"
        scored += run(tree_columns(rng, fill=fill), REGRESSORS[name](rng), rng, 0, exact=True, nulls=0.2)
    assert scored > cases


@pytest.mark.parametrize("name", LINEAR_CLASSIFIERS)
def test_linear_classifiers_agree(name: str) -> None:
    for seed in range(100):
        rng = np.random.default_rng(seed)
        run(linear_columns(), LINEAR_CLASSIFIERS[name](rng), rng, int(pick(rng, [2, 3])), exact=False, nulls=0.1)


@pytest.mark.parametrize("name", LINEAR_REGRESSORS)
def test_linear_regressors_agree(name: str) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        run(linear_columns(), LINEAR_REGRESSORS[name](rng), rng, 0, exact=False, nulls=0.1)


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_classifiers_agree(method: str) -> None:
    inner = [LogisticRegression(), LinearSVC(), DecisionTreeClassifier(max_depth=3, random_state=0),
             HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=4, min_samples_leaf=2),
             RandomForestClassifier(n_estimators=2, random_state=0)]  # fmt: skip
    for seed in range(100):
        rng = np.random.default_rng(seed)
        learn = CalibratedClassifierCV(inner[seed % 5], method=method, cv=2, ensemble=bool(rng.integers(2)))
        run(tree_columns(rng, fill=True), learn, rng, 2, exact=False, nulls=0.1)


def test_a_calibrated_pipeline_agrees() -> None:
    rng = np.random.default_rng(0)
    frame = read(rows(rng, 80))
    whole = CalibratedClassifierCV(make_pipeline(linear_columns(), LogisticRegression()), cv=3)
    predictor = fitted(Pipeline([("learn", whole)]), frame, target(rng, frame, 2), "classification")
    assert compare(predictor, compiled(predictor)[1], rows(rng, 60, wild=0.2))


def test_many_splits_into_sets_are_binned_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    frame = read(rows(rng, 4000))
    learn = HistGradientBoostingClassifier(max_iter=20, categorical_features=[0, 1, 2], min_samples_leaf=5)
    pipeline = Pipeline([("prepare", tree_columns(rng)), ("learn", learn)])
    predictor = fitted(pipeline, frame, target(rng, frame, 3), "classification")
    monkeypatch.setattr(planes, "MOST_BINS", 1)  # 2048 rows at a time
    assert compare(predictor, compiled(predictor)[1], rows(rng, 5000, wild=0.1))


def test_splits_into_sets_in_trees_of_many_leaves() -> None:
    rng = np.random.default_rng(4)
    frame = read(rows(rng, 4000))
    learn = HistGradientBoostingClassifier(
        max_iter=5, categorical_features=[0, 1, 2], min_samples_leaf=1, max_leaf_nodes=500, early_stopping=False
    )
    pipeline = Pipeline([("prepare", tree_columns(rng)), ("learn", learn)])
    predictor = fitted(pipeline, frame, target(rng, frame, 3), "classification")
    plan, mine = compiled(predictor)
    assert isinstance(plan.model, Trees)
    assert (plan.model.split >= 0).any()
    assert not Planes.fit(plan.model, plan.columns)
    walks: Any = mine._model
    assert len(walks._trees._laid_out) <= 2 * len(plan.features), "a column for each feature, and none for each split"
    assert compare(predictor, mine, rows(rng, 5000, wild=0.1))


@pytest.mark.parametrize("leaves", [8, 63, 65, 256, 257, 600])
@pytest.mark.parametrize("values", [100, 254, 255, 256, 257, 3000])
def test_any_number_of_leaves_and_of_thresholds(leaves: int, values: int) -> None:
    rng = np.random.default_rng(leaves * values)
    frame = read(rows(rng, 6000))
    frame["size"] = rng.permutation(np.arange(6000) % (values + 1)) / 8
    goal = np.sin(frame["size"] * 3).to_numpy() + rng.normal(size=6000)
    learn = RandomForestRegressor(n_estimators=12, max_leaf_nodes=leaves, max_features=1.0, random_state=0)
    predictor = fitted(
        Pipeline([("p", ColumnTransformer([("n", "passthrough", ["size"])])), ("l", learn)]), frame, goal, "regression"
    )
    plan, mine = compiled(predictor)
    assert isinstance(plan.model, Trees)
    most = np.add.reduceat(plan.model.feature < 0, plan.model.first[:-1]).max()
    assert most == min(leaves, values + 1) or most > 300, "as many as there are values"
    assert Planes.fit(plan.model, plan.columns) == (most <= planes.MOST_LEAVES)
    table = rows(rng, 3000)
    thresholds = rng.choice(plan.model.threshold[plan.model.feature >= 0], 3000)
    near = np.nextafter(thresholds.astype(np.float32), rng.choice([-np.inf, np.inf], 3000).astype(np.float32))
    for sizes in (thresholds, near.astype(np.float64), frame["size"].to_numpy()[:3000]):
        assert compare(
            predictor, mine, table.set_column(table.column_names.index("size"), "size", pa.array(sizes)), exact=True
        )
