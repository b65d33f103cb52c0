"""The files: equal bytes for equal plans, and one clear sentence for what is no compiled form of this format."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from compiled_rows import KINDS, compare, fitted, read, rows, target
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from jobs.compiled.compile import compile_predictor
from jobs.compiled.format import ARRAYS, DESCRIPTION, load_plan, save_plan
from jobs.compiled.predictor import CompiledPredictor
from jobs.errors import Misconfigured
from jobs.predictor import Predictor

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    frame = read(rows(RNG, 200))
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    prepare = ColumnTransformer([("t", encode, ["color", "shape"]), ("n", "passthrough", ["size", "count"])])
    learn = HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5, categorical_features=[0])
    return fitted(Pipeline([("p", prepare), ("l", learn)]), frame, target(RNG, frame, 2), "classification")


@pytest.fixture
def folder(tmp_path: Path, predictor: Predictor) -> Path:
    save_plan(tmp_path, compile_predictor(predictor))
    return tmp_path


def test_a_plan_comes_back_and_equal_plans_are_equal_files(folder: Path, predictor: Predictor) -> None:
    again = folder / "again"
    save_plan(again, load_plan(folder))
    for name in (ARRAYS, DESCRIPTION):
        assert (again / name).read_bytes() == (folder / name).read_bytes()
    assert sorted(path.name for path in again.iterdir()) == [DESCRIPTION, ARRAYS]
    assert compare(predictor, CompiledPredictor(load_plan(folder)), rows(RNG, 50), exact=True)
    assert json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["plan"]["features"] == KINDS


def test_another_format_is_refused(folder: Path) -> None:
    content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8")) | {"format": 2}
    (folder / DESCRIPTION).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(Misconfigured, match="has the format 2, and this Lamplighter reads 1: retrain the model"):
        load_plan(folder)


def test_a_file_that_is_cut_or_missing_is_refused(folder: Path) -> None:
    whole = (folder / ARRAYS).read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PK"):
        (folder / ARRAYS).write_bytes(content)
        with pytest.raises(Misconfigured, match="cannot be read"):
            load_plan(folder)
    (folder / ARRAYS).unlink()
    with pytest.raises(Misconfigured, match=r"cannot be read .*: retrain the model\.$"):
        load_plan(folder)


def test_objects_in_the_arrays_are_not_loaded(folder: Path) -> None:
    with np.load(folder / ARRAYS) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(folder / ARRAYS, **arrays | {"a0": np.array([print], dtype=object)})
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_plan(folder)


def test_every_single_change_of_an_array_is_refused_or_harmless(folder: Path) -> None:
    """No array that is missing, longer, of another type or points elsewhere gets as far as a kernel."""
    with np.load(folder / ARRAYS) as file:
        arrays = {name: file[name] for name in file.files}
    table = rows(np.random.default_rng(1), 64)
    refused = 0
    for name, array in arrays.items():
        changes = [None, array[:-1], np.append(array, array[-1:], axis=0), array.astype(np.float32)]
        if array.dtype == np.int32:
            changes += [array + 1, array - 1, array + 10_000_000, -array - 2, array[::-1].copy(), np.zeros_like(array)]
        for change in changes:
            others = {key: value for key, value in arrays.items() if key != name}
            np.savez(folder / ARRAYS, **others if change is None else others | {name: change})
            try:
                plan = load_plan(folder)
            except Misconfigured:
                refused += 1
            else:
                assert len(CompiledPredictor(plan).score(table)) == len(table)
    assert refused > 4 * len(arrays) / 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"task": "classification"', '"task": "cooking"'),
        ('"finish": "expit"', '"finish": "softmax"'),
        ('"finish": "expit"', '"finish": "__import__"'),
        ('"type": "Trees"', '"type": "Tree"'),
        ('"type": "Plan"', '"type": "Trees"'),
        ('"color": "category"', '"color": "number"'),
        ('"feature": "size"', '"feature": "tallness"'),
        ('"divisor"', '"divisors"'),
    ],
)
def test_a_changed_description_is_refused(folder: Path, old: str, new: str) -> None:
    text = (folder / DESCRIPTION).read_text(encoding="utf-8")
    assert old in text
    (folder / DESCRIPTION).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_plan(folder)
