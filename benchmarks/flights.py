"""The table, the models and the platform's home that the benchmarks use: real flights, drawn again and again."""

from __future__ import annotations

import os
import shutil
from datetime import date, timedelta
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
FILES, GROUPS = 20, 4
CATEGORIES = ["carrier", "origin", "dest", "plane_manufacturer"]
NUMBERS = [
    "month",
    "weekday",
    "scheduled_minute",
    "distance",
    "plane_year",
    "plane_seats",
    "plane_engines",
    "weather_precip",
    "weather_visib",
    "weather_temp",
]
FEATURES = CATEGORIES + NUMBERS
TRAINING_DAYS, TRAINING_ROWS = 8, 20_000
FIRST = date(2026, 1, 1)
SCORED = FIRST + timedelta(days=TRAINING_DAYS + 2)
MODELS = ("m1", "m2")
PIPELINES = {
    "m1": """\
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def build() -> Pipeline:
    columns = ColumnTransformer([
        ("categories", OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
    ])
    return Pipeline([("prepare", columns), ("learn", LogisticRegression(max_iter=300))])
""",
    "m2": """\
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder


def build() -> Pipeline:
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("categories", codes, CATEGORIES)], remainder="passthrough")
    learn = HistGradientBoostingClassifier(max_iter=200, max_leaf_nodes=31, early_stopping=False)
    return Pipeline([("prepare", columns), ("learn", learn)])
""",
}
LABEL = """

def label(frame):
    return frame["late"]
"""
SPEC = """\
model: {model}
description: Will a flight be late?
owner: benchmarks
task: classification
source: {{path: flights, column: day, every: day}}
key: [flight_id]
features: {{{features}}}
label: {{path: late, columns: [late], delay: 1d, known_at: known_at}}
training: {{window: {window}d, holdout: 2d, seed: 7, minimum_rows: 50}}
input_checks:
  - {{expectation: expect_table_row_count_to_be_between, arguments: {{min_value: 1}}}}
output_checks: {{score: {{at_least: 0, at_most: 1}}}}
metric_gates: [{{metric: auc, at_least: 0.5}}]
engine: {{name: local, workers: {workers}}}
output: {{table: {model}}}
reject_budget: 0.01
"""


def real_flights() -> pd.DataFrame:
    """The flights of 2013 with their 14 features, and whether they were late."""
    place = spec_from_file_location("feed", ROOT / "models" / "flight_delays" / "feed.py")
    if place is None or place.loader is None:
        raise FileNotFoundError("models/flight_delays/feed.py")
    feed: Any = module_from_spec(place)
    place.loader.exec_module(feed)
    with TemporaryDirectory() as scratch:
        feed.lay_out(Path(scratch))
        flights = pd.read_parquet(Path(scratch) / "flights").merge(
            pd.read_parquet(Path(scratch) / "arrivals", columns=["flight_id", "arr_delay"]), on="flight_id"
        )
    flights = flights[flights["arr_delay"].notna()].reset_index(drop=True)
    late = flights["arr_delay"].gt(15).astype("float64")
    return flights[FEATURES].astype(dict.fromkeys(NUMBERS, "float64")).assign(late=late)


def drawn(flights: pd.DataFrame, rows: int, first_key: int, seed: int) -> pa.Table:
    """So many rows drawn with replacement, with keys of their own."""
    random = np.random.default_rng(seed)
    some = flights.iloc[random.integers(0, len(flights), rows)]
    table = pa.Table.from_pandas(some[FEATURES], preserve_index=False)
    keys = pa.array(np.arange(first_key, first_key + rows, dtype=np.int64))
    return table.add_column(0, "flight_id", keys)


def lay_out(home: Path, rows: int) -> Path:
    """A home with training partitions and one of `rows` rows in 20 files of 4 row groups; kept when it is there."""
    done = home / f"rows-{rows}"
    if done.exists():
        return home
    shutil.rmtree(home, ignore_errors=True)
    flights = real_flights()
    for number in range(TRAINING_DAYS):
        _training_day(home / "data", flights, number)
    folder = partition_folder(home, SCORED)
    folder.mkdir(parents=True)
    per_file = rows // FILES
    for number in range(FILES):
        table = drawn(flights, per_file, number * per_file, 100 + number)
        groups = max(1, per_file // GROUPS)
        pq.write_table(table, folder / f"part-{number:02d}.parquet", row_group_size=groups, compression="zstd")
    _write_models(home / "models")
    done.touch()
    return home


def partition_folder(home: Path, day: date) -> Path:
    """Where the rows of a day lie."""
    return home / "data" / "flights" / f"day={day}"


def another_day(home: Path) -> str:
    """A further partition with the very same files, for one more run that has something to do; its key."""
    days = (SCORED + timedelta(days=number) for number in count(1))
    day = next(day for day in days if not partition_folder(home, day).exists())
    folder = partition_folder(home, day)
    folder.mkdir()
    for path in sorted(partition_folder(home, SCORED).iterdir()):
        os.link(path, folder / path.name)
    return str(day)


def _training_day(data: Path, flights: pd.DataFrame, number: int) -> None:
    random = np.random.default_rng(number)
    some = flights.iloc[random.integers(0, len(flights), TRAINING_ROWS)].reset_index(drop=True)
    day = FIRST + timedelta(days=number)
    keys = np.arange(TRAINING_ROWS) + number * TRAINING_ROWS
    known = pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=20)
    for name, frame in (
        ("flights", some[FEATURES].assign(flight_id=keys)),
        ("late", some[["late"]].assign(flight_id=keys, known_at=known)),
    ):
        folder = data / name / f"day={day}"
        folder.mkdir(parents=True)
        pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), folder / "part-0.parquet")


def _write_models(models: Path) -> None:
    kinds = [f"{name}: category" for name in CATEGORIES] + [f"{name}: number" for name in NUMBERS]
    for model in MODELS:
        folder = models / model
        folder.mkdir(parents=True)
        names = f"CATEGORIES = {CATEGORIES}\nNUMBERS = {NUMBERS}\n\n\n"
        (folder / "pipeline.py").write_text(PIPELINES[model].replace("\n\n\ndef", f"\n\n{names}def", 1) + LABEL)
        text = SPEC.format(
            model=model, features=", ".join(kinds), window=TRAINING_DAYS - 1, workers=len(os.sched_getaffinity(0))
        )
        (folder / "model.yaml").write_text(text)


def fitted(model: str) -> Any:
    """The pipeline of a model, fitted on rows like those of its training, for those who score without the platform."""
    rows = real_flights().sample(TRAINING_DAYS * TRAINING_ROWS, replace=True, random_state=7, ignore_index=True)
    room: dict[str, Any] = {"CATEGORIES": CATEGORIES, "NUMBERS": NUMBERS}
    exec(PIPELINES[model], room)  # noqa: S102 - our own text, above
    return room["build"]().fit(rows[FEATURES], rows["late"])
