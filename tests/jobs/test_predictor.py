"""The files of a version: equal pipelines give equal bytes, and nothing is loaded that is not in our list."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest, chi2
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer

from jobs.errors import Misconfigured
from jobs.predictor import DATA, FEATURES, PIPELINE, Predictor, PyfuncModel, load_predictor, save_predictor
from jobs.spec_file import load_spec

ROOT = Path(__file__).resolve().parents[2]
FIT = """\
import sys
from pathlib import Path
import numpy as np, pandas as pd
from jobs.predictor import save_predictor
from jobs.spec_file import load_pipeline_module, load_spec
from jobs.training import seed_all

models, out = map(Path, sys.argv[1:])
for name in ("arrival_minutes", "flight_delays"):
    spec, random = load_spec(models, name), np.random.default_rng(1)
    values = {"category": lambda: random.choice(list("abcdef"), 3000), "number": lambda: random.random(3000)}
    rows = pd.DataFrame({feature: values[how.kind]() for feature, how in spec.features.items()})
    rows = rows.astype({feature: object for feature, how in spec.features.items() if how.kind == "category"})
    pipeline = load_pipeline_module(models, name).build()
    seed_all(pipeline, spec.training.seed)
    pipeline.fit(rows, (rows["distance"] + random.random(3000) > 1).astype(int))
    save_predictor(out / name, pipeline, spec)
"""


def test_two_processes_fit_the_same_bytes(tmp_path: Path) -> None:
    for seed in ("1", "2"):  # of the hashes, which order sets
        command = [sys.executable, "-c", FIT, str(ROOT / "models"), str(tmp_path / seed)]
        subprocess.run(command, env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True)
    for name in ("arrival_minutes", "flight_delays"):
        one, two = ((tmp_path / seed / name / PIPELINE).read_bytes() for seed in ("1", "2"))
        assert one == two
        assert len(one) > 1000


def linear() -> Any:
    rows = pd.DataFrame({"distance": [1.0, 2.0, 3.0]})
    return make_pipeline(LinearRegression()).fit(rows, [2.0, 4.0, 6.0])


def test_a_type_that_is_not_in_the_list_is_not_loaded(tmp_path: Path) -> None:
    spec = load_spec(ROOT / "models", "arrival_minutes")
    hostile = linear()
    hostile.steps.insert(0, ("function", FunctionTransformer(os.system)))
    with pytest.raises(Misconfigured, match="which no scoring worker would load"):
        save_predictor(tmp_path / DATA, hostile, spec)
    save_predictor(tmp_path / DATA, linear(), spec)
    load_predictor(str(tmp_path))
    load_predictor.cache_clear()
    (tmp_path / DATA / PIPELINE).write_bytes(skops.io.dumps(hostile))
    with pytest.raises(Misconfigured, match=r"The version holds types that are not loaded: .*system"):
        load_predictor(str(tmp_path))


@pytest.mark.parametrize(
    "step",
    [
        VotingClassifier([("one", LogisticRegression())], voting="soft"),
        StackingClassifier([("one", LogisticRegression())]),
        MLPClassifier(max_iter=200, hidden_layer_sizes=2, random_state=1),
        MLPClassifier(max_iter=200, hidden_layer_sizes=2, random_state=1, solver="sgd"),
        make_pipeline(SelectKBest(k=1), LogisticRegression()),
        make_pipeline(SelectKBest(chi2, k=1), LogisticRegression()),
        make_pipeline(SplineTransformer(), LogisticRegression()),
    ],
    ids=lambda step: type(step).__name__,
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_estimators_of_scikit_learn_that_do_not_compile_are_kept_and_score(tmp_path: Path, step: Any) -> None:
    spec, random = load_spec(ROOT / "models", "arrival_minutes"), np.random.default_rng(1)
    rows = pd.DataFrame({name: random.random(200) for name in spec.features})
    kinds = {name: feature.kind.value for name, feature in spec.features.items()}
    fitted = Predictor(make_pipeline(step).fit(rows, (rows["distance"] > 0.5).astype(int)), "classification", kinds)
    save_predictor(tmp_path / DATA, fitted.pipeline, spec)
    assert (load_predictor(str(tmp_path)).pipeline.predict_proba(rows)[:, 1] == fitted.score(rows)).all()


def test_features_that_only_changed_places_are_told_from_others() -> None:
    spec = load_spec(ROOT / "models", "arrival_minutes")
    kinds = {name: feature.kind.value for name, feature in spec.features.items()}
    Predictor(linear(), "regression", kinds).check_features(spec)
    with pytest.raises(Misconfigured, match=r"\(carrier\): retrain"):
        Predictor(linear(), "regression", kinds | {"carrier": "number"}).check_features(spec)
    first, *others = spec.features.items()
    moved = spec.model_copy(update={"features": dict([*others, first])})
    assert list(moved.features) != list(spec.features)
    Predictor(linear(), "regression", kinds).check_features(moved)  # rows are read by name


def test_what_mlflow_serves_treats_a_frame_as_the_nightly_run_does(tmp_path: Path) -> None:
    predictor = Predictor(linear(), "regression", {"distance": "number"})
    served = PyfuncModel(predictor)
    assert served.predict(pd.DataFrame({"distance": [4, 5]})).tolist() == pytest.approx([8.0, 10.0])
    with pytest.raises(KeyError, match="distance"):
        served.predict(pd.DataFrame({"weight": [4]}))
    assert FEATURES.endswith(".json")
