"""The job `train`: fit the pipeline on a window of mature partitions, log the run, register the candidate."""

from __future__ import annotations

import os
import tempfile
import warnings
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.code_version import code_version
from jobs.dataset import Dataset, Window, load_dataset, training_window
from jobs.errors import Misconfigured, Rejected, in_brief
from jobs.metrics import measure
from jobs.plots import training_plots
from jobs.predictor import DATA, Predictor, save_predictor
from jobs.registry import prepare_mlflow
from jobs.source import check_columns
from jobs.spec_file import PipelineModule, load_pipeline_module
from jobs.training import TrainResult, seed_all
from model_registry.artifacts import digest_of
from model_registry.codec import digest
from model_registry.store import NewVersion

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from jobs.context import JobContext
    from jobs.spec import ModelSpec

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # which of its two views MLflow shows
REQUIREMENTS = ("lamplighter", "numpy", "pandas", "pyarrow", "scikit-learn", "skops")


def train(job: JobContext) -> TrainResult:
    """Train a candidate for the partition, and register it once: the same files give the version that is there.

    Raises Rejected when there are too few labelled rows, MissingPartition, Misconfigured and Unavailable.
    """
    check_columns(job.spec)
    module = load_pipeline_module(job.settings.models, job.spec.model)
    window = training_window(job.spec, job.partition)
    training = load_dataset(job.settings, job.spec, module.label, window.training, window.as_of)
    holdout = load_dataset(job.settings, job.spec, module.label, window.holdout, window.as_of)
    _enough(job.spec, training, holdout)
    pipeline = _built(module, job.spec)
    seed_all(pipeline, job.spec.training.seed)
    _fit(pipeline, training, job.spec)
    kinds = {name: feature.kind.value for name, feature in job.spec.features.items()}
    predictor = Predictor(pipeline, job.spec.task, kinds)
    score = predictor.score(holdout.features)
    metrics = measure(job.spec.task, holdout.target, score)
    plots = training_plots(job.spec.task, predictor, holdout.features, holdout.target, score, job.spec.training.seed)
    new = _log(job, predictor, window, (training, holdout), metrics, plots)
    result = TrainResult(
        version=job.registry().store.register(new),
        window=f"{window.training[0]} to {window.training[-1]}",
        rows=len(training),
        rows_rejected=training.rows_rejected,
        rows_unlabelled=training.rows_unlabelled,
        input_digest=digest([training.digest, holdout.digest]),
        seed=job.spec.training.seed,
        metrics=metrics,
    )
    job.keep("train", result)
    return result


def _enough(spec: ModelSpec, training: Dataset, holdout: Dataset) -> None:
    for part, rows in (("training", len(training)), ("holdout", len(holdout))):
        if rows < spec.training.minimum_rows:
            raise Rejected(
                f"The {part} of {spec.model} has {rows} labelled rows, and training.minimum_rows is "
                f"{spec.training.minimum_rows}: wait for more labels, or lengthen training.window or holdout."
            )
    if spec.task == "classification":
        values = np.unique(np.concatenate([training.target, holdout.target]))
        if not np.array_equal(values, [0.0, 1.0]):
            raise Rejected(f"label() of {spec.model} must give 0 and 1, both; it gave {values[:5].tolist()}.")


def _built(module: PipelineModule, spec: ModelSpec) -> Pipeline:
    import sklearn.pipeline

    try:
        pipeline = module.build()
    except Exception as error:
        raise Misconfigured(f"build() of {spec.model} failed: {in_brief(error)}.") from error
    if not isinstance(pipeline, sklearn.pipeline.Pipeline):
        raise Misconfigured(
            f"build() of {spec.model} must return a scikit-learn Pipeline, not {type(pipeline).__name__}."
        )
    return pipeline


def _fit(pipeline: Pipeline, training: Dataset, spec: ModelSpec) -> None:
    from threadpoolctl import threadpool_limits

    target = training.target.astype(np.int64) if spec.task == "classification" else training.target
    try:
        with threadpool_limits(limits=spec.training.threads):
            pipeline.fit(training.features, target)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise Misconfigured(f"The pipeline of {spec.model} cannot be fitted: {in_brief(error)}") from error
    if spec.task == "classification" and not hasattr(pipeline, "predict_proba"):
        raise Misconfigured(f"The pipeline of {spec.model} has no predict_proba, and its task is classification.")


def _log(
    job: JobContext,
    predictor: Predictor,
    window: Window,
    datasets: tuple[Dataset, Dataset],
    metrics: dict[str, float],
    plots: dict[str, bytes],
) -> NewVersion:
    """Log the run with everything that is known about it, and describe the version to register."""
    prepare_mlflow(job.settings)
    project_run = os.environ.pop("MLFLOW_RUN_ID", None)  # of `mlflow run`, in an experiment that is not the model's
    import mlflow

    mlflow.set_tracking_uri(job.settings.tracking_uri)
    spec = job.spec
    code = code_version()
    with mlflow.start_run(experiment_id=_experiment(job), run_name=f"{spec.model} {job.partition}") as run:
        mlflow.set_tags(
            {"lamplighter.partition": job.partition.key, "lamplighter.run": job.run, "lamplighter.code": code}
        )
        if project_run is not None:
            mlflow.set_tag("lamplighter.project_run", project_run)
        mlflow.log_params(_params(predictor.pipeline, spec, window))
        mlflow.log_metrics(metrics | {"rows_training": len(datasets[0]), "rows_holdout": len(datasets[1])})
        for dataset, context in zip(datasets, ("training", "holdout"), strict=True):
            _log_lineage(job, dataset, context)
        mlflow.log_text((job.settings.models / spec.model / "model.yaml").read_text(encoding="utf-8"), "model.yaml")
        for name, image in plots.items():
            _log_bytes(mlflow, image, f"plots/{name}.png")
        signature = _signature(spec)
        artifact_uri, files_digest = _log_model(mlflow, predictor, spec, signature, run.info.run_id)
    return NewVersion(
        model=spec.model,
        digest=files_digest,
        signature=digest(signature.to_dict()),
        partition=job.partition.key,
        trained_from=window.start,
        trained_until=window.end,
        mlflow_run_id=run.info.run_id,
        artifact_uri=artifact_uri,
    )


def _experiment(job: JobContext) -> str:
    import mlflow
    from mlflow.exceptions import MlflowException

    found = mlflow.get_experiment_by_name(job.spec.model)
    if found is not None:
        return str(found.experiment_id)
    root = job.settings.artifact_root
    location = f"{root}/{job.spec.model}" if root else None
    try:
        return str(mlflow.create_experiment(job.spec.model, artifact_location=location, tags=EXPERIMENT_TAGS))
    except MlflowException:
        found = mlflow.get_experiment_by_name(job.spec.model)  # another retrain made it at the same moment
        if found is None:
            raise
        return str(found.experiment_id)


def _params(pipeline: Pipeline, spec: ModelSpec, window: Window) -> dict[str, object]:
    settings = {
        f"pipeline.{name}": str(value)[:200]
        for name, value in pipeline.get_params(deep=True).items()
        if isinstance(value, bool | int | float | str) or value is None
    }
    return {
        "seed": spec.training.seed,
        "training": f"{window.training[0]} to {window.training[-1]}",
        "holdout": f"{window.holdout[0]} to {window.holdout[-1]}",
        "labels_known_at": window.as_of.isoformat(),
        **settings,
    }


def _log_lineage(job: JobContext, dataset: Dataset, context: str) -> None:
    """Log which files the rows came from (folder and digest) and their schema; the rows stay where they are."""
    import mlflow
    from mlflow.data.pandas_dataset import from_pandas

    source = str(job.settings.data / job.spec.source.path)
    name = f"{job.spec.source.path} {context}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a local folder can be read as two kinds of source, and says so
        described = from_pandas(dataset.features.head(100), source=source, name=name, digest=dataset.digest[:36])
    mlflow.log_input(described, context=context, tags={"rows": str(len(dataset)), "digest": dataset.digest})


def _signature(spec: ModelSpec) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    types = {"number": DataType.double, "flag": DataType.boolean, "category": DataType.string}
    inputs = [ColSpec(types[f.kind.value], name, required=f.required) for name, f in spec.features.items()]
    return ModelSignature(Schema(inputs), Schema([ColSpec(DataType.double, "score")]))


def _log_model(mlflow: Any, predictor: Predictor, spec: ModelSpec, signature: Any, run: str) -> tuple[str, str]:
    """Log the version's files and return where they are and their digest."""
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / Path(DATA).name
        save_predictor(data, predictor.pipeline, spec)
        files = Path(scratch) / "model"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # asks for example rows, which are not ours to publish
            mlflow.pyfunc.save_model(
                str(files),
                loader_module="jobs.predictor",
                data_path=str(data),
                signature=signature,
                pip_requirements=[f"{name}=={package_version(name)}" for name in REQUIREMENTS],
                mlflow_model=mlflow.models.Model(run_id=run, artifact_path="model"),
            )
        mlflow.log_artifacts(str(files), "model")
        return mlflow.get_artifact_uri("model"), digest_of(files)


def _log_bytes(mlflow: Any, content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / Path(name).name
        path.write_bytes(content)
        mlflow.log_artifact(str(path), os.path.dirname(name))  # noqa: PTH120 - a path in MLflow, not on this machine
