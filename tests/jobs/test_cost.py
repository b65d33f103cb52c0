"""What a version costs, in ratios: never in seconds, which say more about the machine."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from jobs.cost import ROWS, measure_cost, reference
from jobs.errors import Misconfigured
from jobs.predictor import Predictor
from model_registry.codec import from_json, to_json


def table(rows: int = 300, columns: int = 8) -> pd.DataFrame:
    random = np.random.default_rng(3)
    return pd.DataFrame({f"c{n}": random.random(rows) for n in range(columns)})


def loads(pipeline: Pipeline, work: int = 1) -> Any:
    """A load that fits anew `work` times: as many times the cost, and another object each time."""
    rows = table()

    def load() -> Predictor:
        for _ in range(work):
            pipeline.fit(rows, rows["c0"])
        return Predictor(make_pipeline(pipeline), "regression", dict.fromkeys(rows.columns, "number"))

    return load


def wide(degree: int) -> Pipeline:
    return make_pipeline(StandardScaler(), PolynomialFeatures(degree), LinearRegression())


def test_a_dearer_pipeline_has_the_higher_ratio(tmp_path: Path) -> None:
    cheap = measure_cost(loads(make_pipeline(DummyRegressor())), tmp_path, table())
    dear = measure_cost(loads(wide(4)), tmp_path, table())
    assert dear.latency_ratio > 2 * cheap.latency_ratio > 0
    assert dear.load_ratio > 2 * cheap.load_ratio > 0
    assert from_json(type(dear), to_json(dear)) == dear
    assert "times the reference" in dear.sentence()


def test_twice_the_work_is_about_twice_the_ratio(tmp_path: Path) -> None:
    once, thrice = (measure_cost(loads(wide(3), work), tmp_path, table()) for work in (1, 3))
    assert 1.5 < thrice.load_ratio / once.load_ratio < 6
    assert 0.4 < thrice.latency_ratio / once.latency_ratio < 2.5  # the scoring is the same


def test_what_the_reference_costs_is_about_one(tmp_path: Path) -> None:
    class Same(Predictor):
        def score(self, features: pd.DataFrame) -> Any:
            seen.append(len(features))
            reference()
            return features

    seen: list[int] = []
    cost = measure_cost(lambda: Same(make_pipeline(LinearRegression()), "regression", {}), tmp_path, table(7))
    assert 0.6 < cost.latency_ratio < 1.7
    assert set(seen) == {ROWS}
    assert len(seen) == cost.repeats + 1
    assert reference() == reference()


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "data" / "deep").mkdir(parents=True)
    (tmp_path / "MLmodel").write_bytes(b"x" * 1_000)
    (tmp_path / "data" / "deep" / "model.onnx").write_bytes(b"x" * 2_500_000)
    cost = measure_cost(loads(make_pipeline(DummyRegressor())), tmp_path, table())
    assert cost.artifact_mb == pytest.approx(2.501)


def test_what_cannot_be_timed_is_refused(tmp_path: Path) -> None:
    load = loads(make_pipeline(DummyRegressor()))
    kept = load()
    with pytest.raises(Misconfigured, match="through a cache"):
        measure_cost(lambda: kept, tmp_path, table())
    with pytest.raises(Misconfigured, match="no rows"):
        measure_cost(load, tmp_path, table(0))
