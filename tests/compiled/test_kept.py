"""Whatever is covered can be kept: a fitted pipeline comes back from its files and gives the same scores."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from compiled_rows import KINDS, fitted, read, rows, target
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    GammaRegressor,
    HuberRegressor,
    LogisticRegression,
    PoissonRegressor,
    QuantileRegressor,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, RobustScaler, TargetEncoder
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from jobs.compiled.compile import compile_predictor
from jobs.errors import Misconfigured
from jobs.predictor import DATA, load_predictor, save_predictor
from jobs.spec import FeatureKind

pytestmark = pytest.mark.filterwarnings("ignore:X does not have valid feature names")
TEXT, NUMBER = ["color", "shape", "code"], ["size", "price", "count", "new"]
CLASSIFIERS: dict[str, Any] = {
    "logistic": LogisticRegression(),
    "sgd": SGDClassifier(loss="log_loss"),
    "histogram": HistGradientBoostingClassifier(max_iter=3),
    "histogram of categories": HistGradientBoostingClassifier(max_iter=3, categorical_features=[0, 1, 2]),
    "boosting": GradientBoostingClassifier(n_estimators=3),
    "forest": RandomForestClassifier(3),
    "sigmoid": CalibratedClassifierCV(LinearSVC(), cv=2),
    "isotonic": CalibratedClassifierCV(RandomForestClassifier(3), method="isotonic", cv=2),
    "one calibration": CalibratedClassifierCV(SGDClassifier(), ensemble=False, cv=2),
    "temperature": CalibratedClassifierCV(LogisticRegression(), method="temperature", cv=2),
    "around lightgbm": CalibratedClassifierCV(LGBMClassifier(n_estimators=3, verbose=-1), cv=2),
    "lightgbm": LGBMClassifier(n_estimators=3, verbose=-1),
    "xgboost": XGBClassifier(n_estimators=3),
}
REGRESSORS: dict[str, Any] = {
    "poisson": PoissonRegressor(),
    "gamma": GammaRegressor(),
    **{f"tweedie {power}": TweedieRegressor(power=power) for power in (0, 1, 1.5, 2, 3)},
    "tweedie by identity": TweedieRegressor(power=1.5, link="identity", max_iter=5),
    "sgd": SGDRegressor(),
    "huber": HuberRegressor(max_iter=2000),
    "quantile": QuantileRegressor(),
    **{
        f"histogram {loss}": HistGradientBoostingRegressor(loss=loss, max_iter=3, **more)
        for loss, more in (("poisson", {}), ("gamma", {}), ("absolute_error", {}), ("quantile", {"quantile": 0.3}))
    },
    "extra trees": ExtraTreesRegressor(3),
    "tree": DecisionTreeRegressor(),
    "lightgbm": LGBMRegressor(n_estimators=3, verbose=-1),
    "xgboost": XGBRegressor(n_estimators=3),
}
NUMBERS = make_pipeline(SimpleImputer(), RobustScaler())
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
COLUMNS: dict[str, Any] = {
    "ordinal": [("t", ORDINAL, TEXT), ("n", NUMBERS, NUMBER)],
    "one-hot": [("t", OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist"), TEXT)],
    "target": [("t", TargetEncoder(cv=2, target_type="continuous"), TEXT)],
    "by type": [
        ("t", ORDINAL, make_column_selector(dtype_include=object)),
        ("n", NUMBERS, make_column_selector(dtype_include=np.number)),
    ],
    "by name": [("n", NUMBERS, make_column_selector(pattern="^(size|price)$"))],
}


def kept(folder: Path, model: Any, task: str, columns: str = "ordinal") -> None:
    """Fit, save, load and compare; what is covered compiles, too."""
    rng = np.random.default_rng(0)
    frame = read(rows(rng, 200))
    wanted = target(rng, frame, 2 if task == "classification" else 0)
    wanted = wanted if task == "classification" else np.abs(wanted) + 0.1
    predictor = fitted(Pipeline([("p", ColumnTransformer(COLUMNS[columns])), ("l", model)]), frame, wanted, task)
    spec: Any = SimpleNamespace(
        model="m", task=task, features={name: SimpleNamespace(kind=FeatureKind(kind)) for name, kind in KINDS.items()}
    )
    save_predictor(folder / DATA, predictor.pipeline, spec)
    again = load_predictor(str(folder))
    np.testing.assert_array_equal(again.score(frame), predictor.score(frame))
    if model is not CLASSIFIERS["temperature"]:
        compile_predictor(again)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_classifiers(name: str, tmp_path: Path) -> None:
    kept(tmp_path, CLASSIFIERS[name], "classification")


@pytest.mark.parametrize("name", REGRESSORS)
def test_regressors(name: str, tmp_path: Path) -> None:
    kept(tmp_path, REGRESSORS[name], "regression")


@pytest.mark.parametrize("columns", COLUMNS)
def test_columns(columns: str, tmp_path: Path) -> None:
    kept(tmp_path, REGRESSORS["sgd"], "regression", columns)


def test_what_refers_to_itself_is_told_in_a_sentence(tmp_path: Path) -> None:
    model = HistGradientBoostingClassifier(max_iter=3, early_stopping=True, scoring="roc_auc")
    with pytest.raises(Misconfigured, match=r"of m refers to itself .* give early stopping no `scoring` of its own"):
        kept(tmp_path, model, "classification")


KERNEL = """
from jobs.compiled.kernels.compiler import kernel

@kernel("float64(float64)")
def half(number):
    return number / 2
"""


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_kept_kernel_that_is_damaged_is_compiled_again(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "halves.py").write_text(KERNEL)
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "kept"), "PYTHONPATH": "."}
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport halves; print(halves.half(3.0))",
    ]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True)

    assert (run().stdout, run().stderr) == ("1.5\n", "")
    (damaged,) = (tmp_path / "kept").rglob(f"*{suffix}")
    damaged.write_bytes(b"")
    again = run()
    assert again.stdout == "1.5\n"
    assert "half is kept, but damaged" in again.stderr
