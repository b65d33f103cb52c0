"""The job `evaluate`: candidate and champion on the same holdout rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.dataset import load_dataset, training_window
from jobs.metrics import measure
from jobs.predictor import Predictor, load_predictor
from jobs.spec_file import load_pipeline_module
from jobs.training import Evaluation, TrainResult
from model_registry.artifacts import verified

if TYPE_CHECKING:
    from jobs.context import JobContext
    from model_registry.promotion import Registry
    from model_registry.store import Version


def evaluate(job: JobContext, number: int | None = None) -> Evaluation:
    """Measure a version (default: the one that this run trained) and the champion as of the partition's end."""
    registry = job.registry()
    candidate = registry.store.version(job.spec.model, number or job.recall("train", TrainResult).version.number)
    champion = registry.champion(job.spec.model, at=job.partition.end)
    module = load_pipeline_module(job.settings.models, job.spec.model)
    window = training_window(job.spec, job.partition)
    holdout = load_dataset(job.settings, job.spec, module.label, window.holdout, window.as_of)

    def metrics(version: Version) -> dict[str, float]:
        score = _predictor(job, registry, version).score(holdout.features)
        return measure(job.spec.task, holdout.target, score)

    result = Evaluation(
        candidate=candidate,
        champion=champion,
        rows=len(holdout),
        holdout=f"{window.holdout[0]} to {window.holdout[-1]}",
        metrics=metrics(candidate),
        champion_metrics=metrics(champion) if champion is not None else None,
    )
    job.keep("evaluate", result)
    return result


def _predictor(job: JobContext, registry: Registry, version: Version) -> Predictor:
    predictor = load_predictor(str(verified(registry.store, version, job.settings.cache)))
    predictor.check_features(job.spec)
    return predictor
