"""How much faster the compiled form scores than scikit-learn's pipeline: one process, one thread, real flights.

M1 is one-hot categories and scaled numbers into a logistic regression, M2 ordinal categories and numbers into 200
histogram trees of 31 leaves, both over 15 columns. With --large also trees of many leaves: forests that grow until
their leaves are pure, and boosted trees of 255 leaves. Both sides get the same resampled flights, scikit-learn as
a frame and the compiled form as it is read: texts as dictionaries, nulls as nulls. Times are of the thread's processor.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import thread_time

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from jobs.compiled.compile import compile_predictor
from jobs.compiled.format import save_plan
from jobs.compiled.predictor import load
from jobs.predictor import Predictor
from jobs.spec import FeatureKind
from jobs.treat import feature_values

CATEGORIES = ["carrier", "origin", "dest", "tailnum", "plane_manufacturer"]
NUMBERS = [
    "month", "weekday", "scheduled_minute", "distance", "plane_year", "plane_seats", "weather_temp",
    "weather_wind_speed", "weather_precip", "weather_visib",
]  # fmt: skip
KINDS = dict.fromkeys(CATEGORIES, "category") | dict.fromkeys(NUMBERS, "number")


def pipelines() -> dict[str, Pipeline]:
    """M1 and M2, unfitted."""
    hot = OneHotEncoder(handle_unknown="ignore")
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    trees = HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=31, early_stopping=False)
    return {
        "M1": Pipeline(
            [
                ("prepare", ColumnTransformer([("c", hot, CATEGORIES), ("n", numbers, NUMBERS)])),
                ("learn", LogisticRegression(max_iter=200)),
            ]
        ),
        "M2": Pipeline(
            [
                ("prepare", ColumnTransformer([("c", codes, CATEGORIES)], remainder="passthrough")),
                ("learn", trees),
            ]
        ),
    }


def large_trees() -> dict[str, Pipeline]:
    """Models of many leaves, unfitted."""
    from lightgbm import LGBMClassifier
    from sklearn.ensemble import RandomForestClassifier
    from xgboost import XGBClassifier

    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    hot = OneHotEncoder(handle_unknown="ignore")
    learners = {
        "forest": (codes, SimpleImputer(), RandomForestClassifier(60, random_state=0)),
        "one-hot forest": (hot, SimpleImputer(), RandomForestClassifier(60, random_state=0)),
        "LightGBM": (codes, "passthrough", LGBMClassifier(n_estimators=200, num_leaves=255, verbose=-1, n_jobs=1)),
        "XGBoost": (codes, "passthrough", XGBClassifier(n_estimators=200, max_depth=8, n_jobs=1)),
    }
    return {
        name: Pipeline(
            [("prepare", ColumnTransformer([("c", encoder, CATEGORIES), ("n", numbers, NUMBERS)])), ("learn", learner)]
        )
        for name, (encoder, numbers, learner) in learners.items()
    }


def flights() -> pd.DataFrame:
    """The flights of the example models, as their feed lays them out."""
    path = Path(__file__).parents[1] / "models" / "flight_delays" / "feed.py"
    spec = importlib.util.spec_from_file_location("flights_feed", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"{path} is not there: run this from a whole clone.")
    feed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(feed)
    frame: pd.DataFrame = feed._flights()  # noqa: SLF001
    return frame[frame["arr_delay"].notna()]


def as_read(frame: pd.DataFrame) -> pa.Table:
    """The features as a file gives them, texts as dictionaries."""
    table = pa.Table.from_pandas(frame[list(KINDS)], preserve_index=False)
    columns = [table[n].dictionary_encode() if n in CATEGORIES else table[n] for n in KINDS]
    return pa.table(columns, names=list(KINDS))


def treated(table: pa.Table) -> pd.DataFrame:
    """The features as scikit-learn gets them in production."""
    return pd.DataFrame({n: feature_values(table[n], n, FeatureKind(k), "flights") for n, k in KINDS.items()})


def fastest(score: Callable[[], np.ndarray], times: int) -> tuple[float, np.ndarray]:
    """Seconds of the fastest of several runs, and what it gave."""
    best, result = float("inf"), np.empty(0)
    for _ in range(times):
        start = thread_time()
        result = score()
        best = min(best, thread_time() - start)
    return best, result


def main() -> None:
    """Print rows a second of both sides and their ratio; exit 1 when that of M1 or M2 is below --at-least."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=262_144)
    arguments.add_argument("--times", type=int, default=5)
    arguments.add_argument("--at-least", type=float, default=20.0)
    arguments.add_argument("--large", action="store_true", help="trees of many leaves, too")
    chosen = arguments.parse_args()
    frame = flights()
    train = frame.sample(60_000, random_state=0)
    late = train["arr_delay"].gt(15).to_numpy(dtype=float)
    table = as_read(frame.sample(chosen.rows, replace=True, random_state=1))
    rows = treated(table)
    missed = False
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, pipeline in (pipelines() | (large_trees() if chosen.large else {})).items():
            predictor = Predictor(pipeline.fit(treated(as_read(train)), late), "classification", KINDS)
            with TemporaryDirectory() as folder:
                save_plan(Path(folder), compile_predictor(predictor))
                compiled = load(folder)
            theirs, wanted = fastest(lambda p=predictor: p.score(rows), chosen.times)
            ours, found = fastest(lambda c=compiled: c.score(table), chosen.times)
            ratio = theirs / ours
            missed |= name in {"M1", "M2"} and ratio < chosen.at_least
            speeds = [f"{chosen.rows / seconds / 1e6:.2f}" for seconds in (theirs, ours)]
            apart = np.abs(found - wanted).max()
            print(
                f"{name}: scikit-learn {speeds[0]}, compiled {speeds[1]} M rows/s: {ratio:.1f} times, {apart:.1g} apart"
            )
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
