"""The job `train`: fit the pipeline on a window of mature partitions, log the run, register the candidate."""

from __future__ import annotations

import os
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version as package_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.batches import source_tables
from jobs.code_version import ENVIRONMENT_FILE, ModelCode, environment
from jobs.compiled.format import save_plan
from jobs.compiled.gate import COMPILED_NOTE, CompiledForm, to_compiled
from jobs.dataset import Dataset, Window, load_dataset, training_window
from jobs.fit import check_enough, fit
from jobs.metrics import measure
from jobs.onnx_form import ONNX_FILE, ONNX_NOTE, OnnxForm, to_onnx
from jobs.plots import training_plots
from jobs.predictor import DATA, Predictor, save_predictor
from jobs.registry import prepare_mlflow
from jobs.snapshot import SNAPSHOT_FILE, Snapshot, keep_parts, part_tables, rows_of
from jobs.source import check_columns
from jobs.spec_file import PIPELINE_FILE, SPEC_FILE, load_pipeline_module
from jobs.storage import place
from jobs.target import target_digest
from jobs.training import Registered, TrainResult
from model_registry.artifacts import MANIFEST, digest_of, manifest
from model_registry.codec import digest, to_json
from model_registry.store import NewVersion

if TYPE_CHECKING:
    import pyarrow as pa
    from sklearn.pipeline import Pipeline

    from jobs.compiled.form import Plan
    from jobs.context import JobContext
    from jobs.spec import ModelSpec

EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # which of its two views MLflow shows
LOGGED = "logged"
REQUIREMENTS = ("lamplighter", "numpy", "pandas", "pyarrow", "scikit-learn", "skops")


@dataclass(frozen=True)
class Provenance:
    """What pins a fit: its rows, and the model's own files; and the other forms that it has."""

    snapshot: Snapshot
    code: ModelCode
    onnx: OnnxForm
    compiled: CompiledForm


def train(job: JobContext) -> TrainResult:
    """Train a candidate for the partition, and register it once: the same files give the version that is there.

    Raises Rejected when there are too few labelled rows, MissingPartition, Misconfigured and Unavailable.
    """
    check_columns(job.spec)
    code = ModelCode.read(job.settings.models, job.spec.model)
    module = load_pipeline_module(job.settings.models, job.spec.model)
    window = training_window(job.spec, job.partition)
    training = load_dataset(job.settings, job.spec, module.label, window.training, window.as_of)
    holdout = load_dataset(job.settings, job.spec, module.label, window.holdout, window.as_of)
    check_enough(job.spec, training, holdout)
    tables = part_tables(training)
    snapshot = _keep(job, tables, part_tables(holdout))
    predictor = fit(module, job.spec, rows_of(tables.values(), job.spec))
    score = predictor.score(holdout.features)
    metrics = measure(job.spec.task, holdout.target, score)
    plots = training_plots(job.spec.task, predictor, holdout.features, holdout.target, score, job.spec.training.seed)
    compiled = to_compiled(predictor, job.spec, source_tables(job.settings, job.spec, window.holdout))
    provenance = Provenance(snapshot, code, to_onnx(predictor, holdout.features), compiled)
    new = _log(job, predictor, window, (training, holdout), metrics, provenance, plots)
    job.keep(LOGGED, new)
    result = TrainResult(
        version=register(job).version,
        window=f"{window.training[0]} to {window.training[-1]}",
        rows=len(training),
        rows_rejected=training.rows_rejected,
        rows_unlabelled=training.rows_unlabelled,
        input_digest=digest([training.digest, holdout.digest]),
        seed=job.spec.training.seed,
        metrics=metrics,
        not_compiled=compiled.reason,
    )
    job.keep("train", result)
    return result


def register(job: JobContext) -> Registered:
    """Register what this run's `train` has logged, once: again, it gives the version that is there."""
    registry, made = job.registry(), job.recall(LOGGED, NewVersion)
    with registry.ledger.locked(made.model):  # MLflow has none: of two that look at once, both would find nothing
        return Registered(registry.store.register(made))


def _keep(job: JobContext, training: dict[str, pa.Table], holdout: dict[str, pa.Table]) -> Snapshot:
    root, model = job.settings.snapshots, job.spec.model
    return Snapshot(model, keep_parts(root, model, training), keep_parts(root, model, holdout))


def _log(
    job: JobContext,
    predictor: Predictor,
    window: Window,
    datasets: tuple[Dataset, Dataset],
    metrics: dict[str, float],
    provenance: Provenance,
    plots: dict[str, bytes],
) -> NewVersion:
    """Log the run with everything that is known about it, and describe the version to register."""
    prepare_mlflow(job.settings)
    project_run = os.environ.pop("MLFLOW_RUN_ID", None)  # of `mlflow run`, in an experiment that is not the model's
    import mlflow

    mlflow.set_tracking_uri(job.settings.tracking_uri)
    spec = job.spec
    made_by = environment()
    with mlflow.start_run(experiment_id=_experiment(job), run_name=f"{spec.model} {job.partition}") as run:
        mlflow.set_tags(
            {
                "lamplighter.partition": job.partition.key,
                "lamplighter.run": job.run,
                "lamplighter.code": made_by.code,
                "lamplighter.snapshot": provenance.snapshot.digest,
            }
        )
        if project_run is not None:
            mlflow.set_tag("lamplighter.project_run", project_run)
        mlflow.log_params(_params(predictor.pipeline, spec, window))
        mlflow.log_metrics(metrics | {"rows_training": len(datasets[0]), "rows_holdout": len(datasets[1])})
        for dataset, context in zip(datasets, ("training", "holdout"), strict=True):
            _log_lineage(job, dataset, context)
        mlflow.log_text(to_json(made_by), ENVIRONMENT_FILE)
        _log_provenance(mlflow, provenance)
        for name, image in plots.items():
            _log_bytes(mlflow, image, f"plots/{name}.png")
        signature = _signature(spec)
        artifact_uri, files_digest = _log_model(mlflow, predictor, spec, run.info.run_id, provenance.compiled.plan)
    return NewVersion(
        model=spec.model,
        digest=files_digest,
        signature=digest(signature.to_dict()),
        partition=job.partition.key,
        trained_from=window.start,
        trained_until=window.end,
        mlflow_run_id=run.info.run_id,
        artifact_uri=artifact_uri,
        snapshot=provenance.snapshot.digest,
        code=provenance.code.digest,
        target=target_digest(spec, provenance.code.pipeline),
    )


def _log_provenance(mlflow: Any, provenance: Provenance) -> None:
    mlflow.log_text(provenance.code.spec, SPEC_FILE)
    mlflow.log_text(provenance.code.pipeline, PIPELINE_FILE)
    mlflow.log_text(to_json(provenance.snapshot), SNAPSHOT_FILE)
    _log_onnx(mlflow, provenance.onnx)
    mlflow.log_text(to_json(provenance.compiled.note()), COMPILED_NOTE)


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

    stored = job.spec.source
    where = f"sql:{stored.path}" if stored.kind == "sql" else str(place(stored.path, job.settings.data))
    source = where if where.startswith(("/", "s3://", "gs://")) else None  # MLflow has no name for the others
    name = f"{stored.path} {context}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # a local folder can be read as two kinds of source, and says so
        described = from_pandas(dataset.features.head(100), source=source, name=name, digest=dataset.digest[:36])
    mlflow.log_input(
        described, context=context, tags={"rows": str(len(dataset)), "digest": dataset.digest, "source": where}
    )


def _signature(spec: ModelSpec) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    types = {"number": DataType.double, "flag": DataType.boolean, "category": DataType.string}
    inputs = [ColSpec(types[f.kind.value], name, required=f.required) for name, f in spec.features.items()]
    return ModelSignature(Schema(inputs), Schema([ColSpec(DataType.double, "score")]))


def _log_model(
    mlflow: Any, predictor: Predictor, spec: ModelSpec, mlflow_run_id: str, plan: Plan | None
) -> tuple[str, str]:
    """Log the version's files and return where they are and their digest."""
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch) / "model"
        save_version(files, predictor, spec, mlflow_run_id, plan)
        mlflow.log_artifacts(str(files), "model")
        mlflow.log_text(to_json(manifest(files)), MANIFEST)
        return mlflow.get_artifact_uri("model"), digest_of(files)


def save_version(files: Path, predictor: Predictor, spec: ModelSpec, mlflow_run_id: str, plan: Plan | None) -> None:
    """Write all files of a version into the new folder `files`: the same fit gives the same digest.

    `plan` is its compiled form, if it has one.
    """
    import mlflow

    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / Path(DATA).name
        save_predictor(data, predictor.pipeline, spec)
        if plan is not None:
            save_plan(data, plan)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # asks for example rows, which are not ours to publish
            mlflow.pyfunc.save_model(
                str(files),
                loader_module="jobs.predictor",
                data_path=str(data),
                signature=_signature(spec),
                pip_requirements=[f"{name}=={package_version(name)}" for name in REQUIREMENTS],
                mlflow_model=mlflow.models.Model(run_id=mlflow_run_id, artifact_path="model"),
            )


def _log_onnx(mlflow: Any, form: OnnxForm) -> None:
    """Log the ONNX form beside the version, or why there is none; no digest pins it, because nothing scores with it."""
    mlflow.log_text(to_json(form.note()), ONNX_NOTE)
    if form.model is not None:
        _log_bytes(mlflow, form.model, ONNX_FILE)


def _log_bytes(mlflow: Any, content: bytes, name: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / Path(name).name
        path.write_bytes(content)
        mlflow.log_artifact(str(path), os.path.dirname(name))  # noqa: PTH120 - a path in MLflow, not on this machine
