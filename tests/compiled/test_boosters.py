"""Random models of LightGBM and XGBoost: their own scores to the last bit, nulls and early stops included."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from compiled_rows import KINDS, compare, compiled, fitted, infinite, pick, read, rows, target
from conftest import PIPELINE, ROWS, SPEC, Shop, rows_of
from deltalake import DeltaTable
from lightgbm import LGBMClassifier, LGBMRegressor, early_stopping
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder
from xgboost import XGBClassifier, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from jobs.compiled.compile import compile_predictor
from jobs.compiled.form import NotCompiledError, Trees
from jobs.compiled.planes import Planes
from jobs.predictor import Predictor, load_predictor, save_predictor
from jobs.publish import publish
from jobs.scorer import load_scorer
from jobs.spec import FeatureKind
from jobs.table import predictions_path
from jobs.treat import treat
from model_registry.artifacts import verified

Rng = np.random.Generator
TEXT, NUMBER = ["color", "shape", "code"], ["size", "price", "count", "new"]
CASES = 80
pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")


def columns(rng: Rng, *, fill: bool) -> ColumnTransformer:
    encode = (
        OneHotEncoder(handle_unknown="ignore")
        if rng.integers(2)
        else OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
    )
    return ColumnTransformer([("t", encode, TEXT), ("n", SimpleImputer() if fill else "passthrough", NUMBER)])


def light(rng: Rng, kind: type, **more: Any) -> Any:
    return kind(
        n_estimators=int(rng.integers(1, 9)),
        num_leaves=int(pick(rng, [2, 7, 31])),
        min_child_samples=int(pick(rng, [1, 5])),
        use_missing=bool(rng.integers(4)),
        n_jobs=1,
        verbose=-1,
        **more,
    )


def extreme(rng: Rng, kind: type, **more: Any) -> Any:
    return kind(
        n_estimators=int(rng.integers(1, 9)),
        max_depth=int(pick(rng, [1, 3, 7])),
        gamma=float(pick(rng, [0.0, 0.3])),
        n_jobs=1,
        **{"tree_method": pick(rng, ["hist", "exact"]), **more},
    )


MODELS: dict[str, tuple[int, Callable[[Rng], Any]]] = {
    "light, two classes": (2, lambda rng: light(rng, LGBMClassifier, objective=pick(rng, ["binary", "cross_entropy"]))),
    "light, three classes": (3, lambda rng: light(rng, LGBMClassifier)),
    "light, numbers": (
        0,
        lambda rng: light(
            rng, LGBMRegressor, objective=pick(rng, ["l2", "l1", "huber", "poisson", "gamma", "tweedie"])
        ),
    ),
    "light, forest": (
        2,
        lambda rng: light(rng, LGBMClassifier, boosting_type="rf", bagging_freq=1, bagging_fraction=0.7),
    ),
    "light, dropped trees": (0, lambda rng: light(rng, LGBMRegressor, boosting_type="dart")),
    "extreme, two classes": (2, lambda rng: extreme(rng, XGBClassifier)),
    "extreme, three classes": (3, lambda rng: extreme(rng, XGBClassifier)),
    "extreme, forest": (2, lambda rng: extreme(rng, XGBRFClassifier, tree_method="hist")),
    "extreme, forest of numbers": (0, lambda rng: extreme(rng, XGBRFRegressor, tree_method="hist")),
    "extreme, numbers": (
        0,
        lambda rng: extreme(
            rng,
            XGBRegressor,
            objective=pick(rng, ["reg:squarederror", "reg:absoluteerror", "count:poisson", "reg:gamma", "reg:tweedie"]),
        ),
    ),
}


def learned(rng: Rng, learn: Any, classes: int, *, fill: bool = False) -> tuple[Any, Any]:
    train = rows(rng, int(rng.integers(40, 90)), nulls=float(pick(rng, [0.0, 0.2])))
    frame = read(train)
    pipeline = Pipeline([("prepare", columns(rng, fill=fill)), ("learn", learn)])
    task = "classification" if classes else "regression"
    return fitted(pipeline, frame, target(rng, frame, classes), task), train


@pytest.mark.parametrize("name", MODELS)
def test_boosted_trees_of_other_libraries_agree(name: str) -> None:
    classes, build = MODELS[name]
    scored = 0
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        predictor, train = learned(rng, build(rng), classes)
        _, mine = compiled(predictor)
        exact = name.startswith("extreme")
        for table in (train, rows(rng, 40, wild=0.3), infinite(rng, rows(rng, 40))):
            scored += compare(predictor, mine, table, exact=exact)
    assert scored == 3 * CASES


def test_raw_sums_of_lightgbm_agree_to_the_last_bit() -> None:
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        predictor, train = learned(rng, light(rng, LGBMRegressor), 0)
        assert compare(predictor, compiled(predictor)[1], train, exact=True)


def test_names_with_a_blank_which_lightgbm_writes_otherwise_compile() -> None:
    rng = np.random.default_rng(1)
    rows = pd.DataFrame({"a b": rng.random(200), "c_d e": rng.random(200)})
    fitted = make_pipeline(LGBMClassifier(n_estimators=3, verbose=-1)).fit(rows, (rows["a b"] > 0.5).astype(int))
    kinds = dict.fromkeys(rows, "number")
    assert compile_predictor(Predictor(fitted, "classification", kinds)).features == kinds
    with pytest.raises(NotCompiledError, match="not fitted on the features by name and in order"):
        compile_predictor(Predictor(fitted, "classification", dict.fromkeys(["c_d e", "a b"], "number")))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
@pytest.mark.parametrize("kind", [LGBMClassifier, XGBClassifier])
def test_they_may_be_calibrated(kind: type, method: str) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        learn = CalibratedClassifierCV(kind(n_estimators=5, n_jobs=1), method=method, cv=2)
        if kind is LGBMClassifier:
            learn.estimator.set_params(verbose=-1)
        predictor, train = learned(rng, learn, 2)
        if (kind, method) == (XGBClassifier, "isotonic"):
            wanted = predictor.score(read(train))  # scikit-learn interpolates its float32 in float32
            np.testing.assert_allclose(compiled(predictor)[1].score(train), wanted, atol=1e-6)
        else:
            assert compare(predictor, compiled(predictor)[1], train)


@pytest.mark.parametrize("leaves", [31, 400])
@pytest.mark.parametrize("kind", [LGBMRegressor, XGBRegressor])
def test_many_leaves_and_thresholds(kind: type, leaves: int) -> None:
    rng = np.random.default_rng(leaves)
    frame = read(rows(rng, 6000))
    goal = np.sin(frame["price"].fillna(0) * 3).to_numpy() + rng.normal(size=6000)
    limits = (
        {"num_leaves": leaves, "min_child_samples": 5, "verbose": -1}
        if kind is LGBMRegressor
        else {"max_leaves": leaves, "max_depth": 0}
    )
    learn = kind(n_estimators=20, n_jobs=1, **limits)
    predictor = fitted(Pipeline([("p", columns(rng, fill=False)), ("l", learn)]), frame, goal, "regression")
    plan, mine = compiled(predictor)
    assert isinstance(plan.model, Trees)
    assert Planes.fit(plan.model, plan.columns) == (leaves == 31)
    assert compare(predictor, mine, rows(rng, 3000, wild=0.1), exact=True)


def test_values_next_to_a_threshold_go_the_same_way() -> None:
    rng = np.random.default_rng(9)
    for kind in (LGBMRegressor, XGBRegressor):
        frame = read(rows(rng, 3000))[["size"]]
        goal = np.sin(frame["size"].fillna(0) / 9).to_numpy()
        learn = kind(n_estimators=9, n_jobs=1, **({"verbose": -1} if kind is LGBMRegressor else {}))
        predictor = fitted(
            Pipeline([("p", ColumnTransformer([("n", "passthrough", ["size"])])), ("l", learn)]),
            frame,
            goal,
            "regression",
        )
        plan, mine = compiled(predictor)
        assert isinstance(plan.model, Trees)
        used = plan.model.threshold[plan.model.feature >= 0]
        near = [used, *(np.nextafter(used, to) for to in (-np.inf, np.inf))]
        near += [np.nextafter(used.astype(np.float32), np.float32(to)).astype(np.float64) for to in (-np.inf, np.inf)]
        table = rows(rng, 5 * len(used)).select(["size"])
        assert compare(predictor, mine, table.set_column(0, "size", pa.array(np.concatenate(near))), exact=True)


@pytest.mark.parametrize("kind", [LGBMClassifier, XGBClassifier])
def test_trees_after_an_early_stop_do_not_count(kind: type) -> None:
    rng = np.random.default_rng(4)
    train, held = rows(rng, 200), rows(rng, 100)
    prepare = columns(rng, fill=False).fit(read(train))
    x, y = prepare.transform(read(train)), rng.integers(0, 2, 200)
    check = (prepare.transform(read(held)), rng.integers(0, 2, 100))
    if kind is LGBMClassifier:
        learn = kind(n_estimators=60, verbose=-1, n_jobs=1).fit(
            x, y, eval_X=(check[0],), eval_y=(check[1],), callbacks=[early_stopping(3, verbose=False)]
        )
        assert 0 < learn.best_iteration_ < 60
    else:
        learn = kind(n_estimators=60, early_stopping_rounds=3, n_jobs=1).fit(x, y, eval_set=[check], verbose=False)
        assert learn.best_iteration + 1 < learn.get_booster().num_boosted_rounds()
    pipeline = Pipeline([("prepare", prepare), ("learn", learn)])
    predictor = Predictor(pipeline, "classification", KINDS)
    assert compare(predictor, compiled(predictor)[1], held, exact=kind is XGBClassifier)


REFUSED: dict[str, tuple[int, Any, str]] = {
    "categories": (2, LGBMClassifier(categorical_feature=[0], min_child_samples=1, verbose=-1), "categories or linear"),
    "lines": (0, LGBMRegressor(linear_tree=True, verbose=-1), "categories or linear trees"),
    "zeros": (0, LGBMRegressor(zero_as_missing=True, verbose=-1, min_child_samples=1), "zero_as_missing"),
    "roots": (0, LGBMRegressor(reg_sqrt=True, verbose=-1), "the objective regression sqrt is not covered"),
    "one against all": (3, LGBMClassifier(objective="multiclassova", verbose=-1), "the objective multiclassova"),
    "a slope": (2, LGBMClassifier(sigmoid=2.0, verbose=-1), "the objective binary sigmoid:2"),
    "dropped": (2, XGBClassifier(booster="dart"), "the booster dart"),
    "linear": (2, XGBClassifier(booster="gblinear"), "the booster gblinear"),
    "another null": (2, XGBClassifier(missing=0.0), "missing other than NaN"),
    "hinge": (2, XGBClassifier(objective="binary:hinge"), "the objective binary:hinge"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")
def test_what_is_not_covered_says_so(name: str) -> None:
    classes, learn, message = REFUSED[name]
    learn.set_params(n_estimators=6, n_jobs=1)
    predictor, _ = learned(np.random.default_rng(1), learn, classes, fill=True)
    with pytest.raises(NotCompiledError, match=message):
        compile_predictor(predictor)


@pytest.mark.parametrize("kind", [LGBMClassifier, XGBClassifier])
def test_a_version_of_theirs_is_saved_without_pickle_and_scores_the_same(kind: type, tmp_path: Path) -> None:
    class Spec:
        model, task = "toys", "classification"
        features: dict[str, Any]

    predictor, train = learned(np.random.default_rng(2), kind(n_estimators=5, n_jobs=1), 2)
    spec = Spec()
    spec.features = {n: type("F", (), {"kind": FeatureKind(k)}) for n, k in predictor.features.items()}
    folder = tmp_path / "version"
    save_predictor(folder / "data" / "predictor", predictor.pipeline, spec)  # type: ignore[arg-type]
    again = load_predictor(str(folder))
    np.testing.assert_array_equal(again.score(read(train)), predictor.score(read(train)))


@pytest.mark.parametrize(
    ("module", "estimator"), [("lightgbm", "LGBMClassifier(n_estimators=9, n_jobs=1, verbose=-1)"),
                              ("xgboost", "XGBClassifier(n_estimators=9, n_jobs=1)")]
)  # fmt: skip
def test_a_model_of_theirs_goes_the_whole_way(shop: Shop, module: str, estimator: str) -> None:
    made = "HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5)"
    name = estimator.split("(", maxsplit=1)[0]
    shop.write_model(
        SPEC,
        PIPELINE.replace(made, estimator).replace(
            "from sklearn.ensemble import HistGradientBoostingClassifier", f"from {module} import {name}"
        ),
    )
    shop.retrain("2026-01-14")
    job = shop.prepare("2026-01-16")
    assert publish(job).publication.rows_scored == ROWS
    version = job.registry().store.version("toys", 1)
    scorer = load_scorer(str(verified(job.registry().store, version, job.settings.cache)))
    assert scorer.compiled
    table = pa.Table.from_pandas(rows_of(date(2026, 1, 16)))
    found = scorer.score(table, treat(table, job.spec, "the rows"), "the rows")
    spread = DeltaTable(predictions_path(job.settings, job.spec)).to_pandas().set_index("toy_id")["score"]
    np.testing.assert_array_equal(spread.loc[table["toy_id"].to_pylist()], found)
    assert spread.std() > 0.05
