"""Random rows as a reader gives them, and the comparison of both predictors on them."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.pipeline import Pipeline

from jobs.compiled.compile import compile_predictor
from jobs.compiled.form import Plan
from jobs.compiled.format import load_plan, save_plan
from jobs.compiled.predictor import CompiledPredictor
from jobs.errors import Misconfigured
from jobs.predictor import Predictor
from jobs.spec import FeatureKind
from jobs.treat import feature_values

KINDS = {"color": "category", "shape": "category", "code": "category", "size": "number", "price": "number",
         "count": "number", "new": "flag"}  # fmt: skip
TEXTS = ["red", "blue", "green", "grün", "", "nan", "None", "1", "10"]
LARGE = 1e-12
"""By how much scores may differ where the order of additions does, relative to the largest of them (at least 1)."""


def pick(rng: np.random.Generator, options: list[Any]) -> Any:
    """One of the options, which may be anything."""
    return options[int(rng.integers(len(options)))]


def rows(rng: np.random.Generator, size: int, *, wild: float = 0.0, nulls: float = 0.1) -> pa.Table:
    """Rows with nulls; the more `wild`, the more unseen texts and strange numbers. Some columns are dictionaries."""
    unseen = ["violet", "NaN", "\0", "blau"]
    columns: dict[str, pa.Array] = {}
    for name in ("color", "shape"):
        values = rng.choice(TEXTS[: int(rng.integers(2, len(TEXTS)))], size).astype(object)
        strange = rng.random(size) < wild
        values[strange] = rng.choice(unseen, strange.sum())
        texts = pa.array(values, pa.string(), mask=rng.random(size) < nulls)
        columns[name] = texts.dictionary_encode() if rng.random() < 0.7 else texts
    columns["code"] = pa.array(rng.integers(0, 6 if wild else 5, size), pa.int64(), mask=rng.random(size) < nulls)
    for name in ("size", "price"):
        numbers = pick(rng, [rng.normal(size=size).round(1), rng.exponential(50, size), rng.normal(size=size)])
        strange = rng.random(size) < wild
        large = [1e300, -1e300] if rng.random() < 0.2 else []
        numbers[strange] = rng.choice([np.nan, 0.0, -0.0, 5e-324, 1e10, -1e30, *large], strange.sum())
        columns[name] = pa.array(numbers, pa.float64(), mask=rng.random(size) < nulls)
    columns["count"] = pa.array(rng.integers(0, 9, size), pa.int16(), mask=rng.random(size) < nulls)
    columns["new"] = pa.array(rng.random(size) < 0.5, pa.bool_(), mask=rng.random(size) < nulls)
    return pa.table(columns)


def infinite(rng: np.random.Generator, table: pa.Table) -> pa.Table:
    """The rows with some infinities in the sizes."""
    values = table["size"].to_pandas().to_numpy(copy=True)
    values[rng.integers(0, len(values), 3)] = rng.choice([np.inf, -np.inf], 3)
    return table.set_column(table.column_names.index("size"), "size", pa.array(values, from_pandas=True))


def read(table: pa.Table, kinds: dict[str, str] = KINDS) -> pd.DataFrame:
    """The rows as the production reader hands them to scikit-learn."""
    return pd.DataFrame({n: feature_values(table[n], n, FeatureKind(k), "the rows") for n, k in kinds.items()})


def target(rng: np.random.Generator, frame: pd.DataFrame, classes: int) -> np.ndarray:
    """A target that depends on the rows: a positive number, or with `classes` a class, each of them at least twice."""
    signal = frame["count"].fillna(3) + 3 * (frame["color"] == "red") + rng.exponential(1, len(frame))
    if classes == 0:
        return signal.to_numpy()
    found = np.minimum((signal / signal.max() * classes).astype(int), classes - 1).to_numpy(dtype=float)
    found[: 4 * classes] = np.arange(4 * classes) % classes
    return found


def fitted(pipeline: Pipeline, frame: pd.DataFrame, goal: np.ndarray, task: str) -> Predictor:
    """The pipeline after its fit, without its warnings about small data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline.fit(frame, goal)
    return Predictor(pipeline, task, {name: KINDS[name] for name in frame.columns})


def compiled(predictor: Predictor) -> tuple[Plan, CompiledPredictor]:
    """The plan, and the predictor after its way through files."""
    plan = compile_predictor(predictor)
    with tempfile.TemporaryDirectory() as scratch:
        save_plan(Path(scratch), plan)
        return plan, CompiledPredictor(load_plan(Path(scratch)))


def compare(predictor: Predictor, mine: CompiledPredictor, table: pa.Table, *, exact: bool = False) -> bool:
    """Hold the scores against scikit-learn's: False where both refuse the rows, as they must together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wanted = predictor.score(read(table, predictor.features))
        except Misconfigured as error:
            refusal: Misconfigured | None = error
        else:
            refusal = None
    if refusal is not None:
        with pytest.raises(Misconfigured, match="cannot score these rows"):
            mine.score(table)
        return False
    found = mine.score(table)
    assert found.dtype == np.float64
    if exact:
        np.testing.assert_array_equal(found, wanted)
    else:
        scale = np.nanmax(np.abs(np.where(np.isfinite(wanted), wanted, 0.0)), initial=1.0)
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=LARGE * scale)
    return True
