"""Training: the same inputs give the same model, only mature labels are used, and the run can be read years later."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from jobs.context import JobContext
from jobs.dataset import load_dataset, training_window
from jobs.errors import Misconfigured, MissingPartition, Rejected
from jobs.evaluate import evaluate
from jobs.judge import judge
from jobs.moves import promote
from jobs.performance import performance
from jobs.predictor import load_predictor
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.spec_file import load_pipeline_module
from jobs.table import predictions_path
from jobs.train import train

DAY = "2026-01-14"
CUSTOM_TRANSFORMER = """\
from sklearn.base import BaseEstimator, TransformerMixin


class Mine(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X


def build() -> Pipeline:
    return make_pipeline(Mine(), plain())


def plain() -> Pipeline:"""


def test_the_same_inputs_give_the_same_digest_in_another_process(shop: Any) -> None:
    first = train(shop.job(DAY)).version
    threads = {"OMP_NUM_THREADS": "2"}  # another machine has another number of cores
    environment = (
        os.environ
        | threads
        | {
            "LAMPLIGHTER_HOME": str(shop.settings.home),
            "LAMPLIGHTER_MODELS": str(shop.settings.models),
        }
    )
    command = [sys.executable, "-m", "lamplighter.cli", "train", "--model", "toys", "--partition", DAY]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    versions = open_registry(shop.settings).store.versions("toys")
    assert [(v.number, v.digest) for v in versions] == [(1, first.digest)]


def test_other_data_give_another_version(shop: Any) -> None:
    first = train(shop.job(DAY)).version
    shop.write_sales("2026-01-05", pd.read_parquet(shop.sales("2026-01-05")).head(60))
    second = train(shop.job(DAY)).version
    assert (first.number, second.number) == (1, 2)
    assert first.digest != second.digest


def test_the_run_tells_what_it_rests_on(shop: Any) -> None:
    result = train(shop.job(DAY))
    client = mlflow.MlflowClient(shop.settings.tracking_uri)
    run = client.get_run(result.version.mlflow_run_id)
    assert run.data.params["seed"] == "7"
    assert run.data.params["training"] == "2026-01-04 to 2026-01-10"
    assert run.data.params["holdout"] == "2026-01-11 to 2026-01-13"
    assert run.data.metrics["auc"] == pytest.approx(result.metrics["auc"])
    assert run.data.tags["lamplighter.partition"] == DAY
    assert run.data.tags["lamplighter.code"]
    contexts = {t.value for i in run.inputs.dataset_inputs for t in i.tags if t.key == "mlflow.data.context"}
    assert contexts == {"training", "holdout"}
    assert all(i.dataset.digest and "sales" in i.dataset.source for i in run.inputs.dataset_inputs)
    plots = {artifact.path for artifact in client.list_artifacts(run.info.run_id, "plots")}
    assert plots == {"plots/calibration.png", "plots/feature-importance.png", "plots/roc.png"}
    assert {a.path for a in client.list_artifacts(run.info.run_id)} >= {"model", "model.yaml", "plots"}


def test_labels_that_are_not_mature_are_not_used(shop: Any) -> None:
    job = shop.job(DAY)
    window = training_window(job.spec, job.partition)
    label = load_pipeline_module(shop.settings.models, "toys").label
    known = load_dataset(shop.settings, job.spec, label, window.holdout, window.as_of)
    earlier = load_dataset(shop.settings, job.spec, label, window.holdout, window.holdout[-1].end)
    assert str(window.holdout[-1]) == "2026-01-13"
    assert (len(known), known.rows_unlabelled) == (360, 0)
    assert (len(earlier), earlier.rows_unlabelled) == (240, 120)


def test_a_version_knows_how_far_its_data_reach(shop: Any) -> None:
    version = train(shop.job(DAY)).version
    assert version.trained_until.isoformat() == "2026-01-14T00:00:00+00:00"
    assert version.trained_from.isoformat() == "2026-01-04T00:00:00+00:00"


def test_a_partition_that_is_missing_in_the_window_is_named(shop: Any) -> None:
    (shop.sales("2026-01-08") / "part-0.parquet").unlink()
    with pytest.raises(MissingPartition, match="lacks 1 of the 7 partitions that toys needs, the first 2026-01-08"):
        train(shop.job(DAY))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (
            ("minimum_rows: 50", "minimum_rows: 5000"),
            Rejected,
            "has 840 labelled rows, and training.minimum_rows is 5000",
        ),
        (("colour: category", "colour: category\n  returned: number"), Misconfigured, "returned is a feature too"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(shop: Any, change: tuple[str, str], error: type, says: str) -> None:
    spec = (shop.settings.models / "toys" / "model.yaml").read_text()
    shop.write_model(spec=spec.replace(*change))
    with pytest.raises(error, match=says):
        train(shop.job(DAY))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        (
            ('return frame["returned"]', 'return frame["returned"] * 0'),
            Rejected,
            r"must give 0 and 1 and nothing else: 1 different values came",
        ),
        (('return frame["returned"]', 'return frame["returned"].head(3)'), Misconfigured, "one value for each row"),
        (('encode, ["colour"]', 'encode, ["smell"]'), Misconfigured, "cannot be fitted"),
        (
            (
                "def build() -> Pipeline:",
                CUSTOM_TRANSFORMER,
            ),
            Misconfigured,
            "which no scoring worker would load",
        ),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_one_sentence(
    shop: Any, change: tuple[str, str], error: type, says: str
) -> None:
    pipeline = (shop.settings.models / "toys" / "pipeline.py").read_text()
    assert change[0] in pipeline
    shop.write_model(pipeline=pipeline.replace(*change))
    with pytest.raises(error, match=says):
        train(shop.job(DAY))


def test_champion_and_candidate_are_measured_on_the_same_rows(open_shop: Any) -> None:
    job = open_shop.job("2026-01-19", "again")
    train(job)
    result = evaluate(job)
    assert (result.candidate.number, result.champion.number, result.rows) == (2, 1, 360)
    assert result.champion_metrics["auc"] != result.metrics["auc"]
    assert judge(job).action == "promote"


def test_a_model_is_sliced_by_the_days_of_its_holdout_and_by_columns_that_are_no_features(open_shop: Any) -> None:
    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    gates = "metric_gates: [{metric: brier, at_most: 0.5, by: day}, {metric: brier, at_most: 0.5, by: toy_id}, "
    open_shop.write_model(spec=spec.replace("metric_gates: [", gates))
    job = open_shop.job("2026-01-19", "sliced")
    train(job)
    measured = evaluate(job).measured
    days = [m for m in measured if m.subject.by == "day"]
    assert [(m.part, m.rows) for m in days] == [(f"2026-01-{day}", 120) for day in (16, 17, 18)]
    assert [(m.small, m.rows) for m in measured if m.subject.by == "toy_id"] == [(360, 360)]
    assert judge(job).report.passed


def test_retraining_the_champion_again_changes_nothing(open_shop: Any) -> None:
    job = open_shop.job(DAY, "again")
    train(job)
    evaluate(job)
    assert "is in production already" in judge(job).verdict()
    assert promote(job).outcome == "unchanged"
    with open_registry(open_shop.settings).ledger.reading() as session:
        assert len(session.history("toys")) == 1


def test_a_candidate_that_is_not_good_enough_is_a_decision(open_shop: Any) -> None:
    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=spec.replace("at_least: 0.55", "at_least: 0.99"))
    job = open_shop.job("2026-01-19", "strict")
    train(job)
    evaluate(job)
    assert judge(job).action == "keep"
    assert promote(job).outcome == "kept"
    assert "auc on the holdout FAILED: expected at least 0.99" in promote(job).sentence


def test_a_version_whose_features_are_no_longer_those_of_the_spec_is_refused(open_shop: Any) -> None:
    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=spec.replace("  wrapped: flag\n", ""))
    with pytest.raises(Misconfigured, match=r"changed since this version was trained \(wrapped\)"):
        open_shop.prepare("2026-01-16")


def test_the_predictor_loads_without_mlflow_and_without_pickle(open_shop: Any) -> None:
    version = open_registry(open_shop.settings).store.version("toys", 1)
    open_shop.prepare("2026-01-16")
    files = open_shop.settings.cache / version.digest
    load = f"from jobs.predictor import load_predictor; load_predictor({str(files)!r})"
    code = f"import sys; {load}; print('mlflow' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
    assert not list(files.rglob("*.pkl"))


def test_a_version_with_a_type_that_is_not_in_our_list_is_refused(tmp_path: Path) -> None:
    import skops.io
    from sklearn.gaussian_process.kernels import RBF

    folder = tmp_path / "data" / "predictor"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text('{"format": 1, "task": "regression", "features": {}}')
    skops.io.dump([RBF(), Path("x")], folder / "pipeline.skops")
    with pytest.raises(Misconfigured, match="holds types that are not loaded"):
        load_predictor(str(tmp_path))


def test_performance_is_that_of_the_published_scores(open_shop: Any) -> None:
    from sklearn.metrics import roc_auc_score

    job = open_shop.prepare("2026-01-16")
    publish(job)
    found = performance(open_shop.settings, job.spec, job.partition, job.partition.end.replace(year=2027))
    labels = pd.read_parquet(open_shop.settings.data / "returns" / "day=2026-01-16").set_index("toy_id")["returned"]
    from deltalake import DeltaTable

    scores = DeltaTable(predictions_path(open_shop.settings, job.spec)).to_pandas().set_index("toy_id")["score"]
    assert found.rows == 120
    assert found.metrics["auc"] == pytest.approx(roc_auc_score(labels[scores.index], scores))
    early = performance(open_shop.settings, job.spec, job.partition, job.partition.end)
    assert (early.rows, early.metrics) == (0, {})


def test_an_empty_batch_gives_no_scores(open_shop: Any) -> None:
    job = JobContext.create(open_shop.settings, "toys", "2026-01-16")
    open_shop.prepare("2026-01-16")
    version = open_registry(open_shop.settings).store.version("toys", 1)
    predictor = load_predictor(str(open_shop.settings.cache / version.digest))
    empty = pd.DataFrame({name: np.empty(0) for name in job.spec.features})
    assert predictor.score(empty).shape == (0,)
