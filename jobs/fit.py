"""From rows, a spec and a `pipeline.py` to a fitted pipeline: what `train` and `reproduce` share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jobs.errors import Misconfigured, Rejected, in_brief, texts_of, without_values
from jobs.predictor import Predictor
from jobs.training import seed_all

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

    from jobs.dataset import Dataset
    from jobs.snapshot import Rows
    from jobs.spec import ModelSpec
    from jobs.spec_file import PipelineModule


def fit(module: PipelineModule, spec: ModelSpec, rows: Rows) -> Predictor:
    """Build the pipeline, seed it, and fit it on the rows, on as many threads as the spec says.

    Raises Misconfigured when it cannot be built or fitted.
    """
    pipeline = built(module, spec)
    seed_all(pipeline, spec.training.seed)
    _fit(pipeline, rows, spec)
    kinds = {name: feature.kind.value for name, feature in spec.features.items()}
    return Predictor(pipeline, spec.task, kinds)


def check_enough(spec: ModelSpec, training: Dataset, holdout: Dataset) -> None:
    """Raise Rejected when there are too few labelled rows, or targets that the task cannot learn from."""
    for part, rows in (("training", len(training)), ("holdout", len(holdout))):
        if rows < spec.training.minimum_rows:
            raise Rejected(
                f"The {part} of {spec.model} has {rows} labelled rows, and training.minimum_rows is "
                f"{spec.training.minimum_rows}: wait for more labels, or lengthen training.window or holdout."
            )
    if spec.task == "classification":
        values = np.unique(np.concatenate([training.target, holdout.target]))
        if not np.array_equal(values, [0.0, 1.0]):
            raise Rejected(
                f"label() of {spec.model} must give 0 and 1 and nothing else: {len(values)} different values came."
            )


def built(module: PipelineModule, spec: ModelSpec) -> Pipeline:
    """The pipeline of `build()`, not fitted. Raises Misconfigured when that fails, or gives anything else."""
    import sklearn.pipeline

    try:
        pipeline = module.build()
    except (Exception, SystemExit) as error:
        raise Misconfigured(f"build() of {spec.model} failed: {in_brief(error)}.") from error
    if not isinstance(pipeline, sklearn.pipeline.Pipeline):
        raise Misconfigured(
            f"build() of {spec.model} must return a scikit-learn Pipeline, not {type(pipeline).__name__}."
        )
    return pipeline


def _fit(pipeline: Pipeline, rows: Rows, spec: ModelSpec) -> None:
    from threadpoolctl import threadpool_limits

    target = rows.target.astype(np.int64) if spec.task == "classification" else rows.target
    try:
        with threadpool_limits(limits=spec.training.threads):
            pipeline.fit(rows.features, target)
    except (MemoryError, OSError):
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's pipeline and its libraries raise
        said = without_values(error, texts_of(rows.features))
        empty = [str(name) for name in rows.features if rows.features[name].isna().all()]
        perhaps = (
            f" No row of the training window has a value in {', '.join(empty)}: leave that out of the spec."
            if empty
            else ""
        )
        raise Misconfigured(f"The pipeline of {spec.model} cannot be fitted: {said}.{perhaps}") from None
    if spec.task == "classification" and not hasattr(pipeline, "predict_proba"):
        raise Misconfigured(f"The pipeline of {spec.model} has no predict_proba, and its task is classification.")
