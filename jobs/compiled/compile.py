"""From a fitted pipeline to a plan, where each of its steps is covered."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.compiled.check import check_plan
from jobs.compiled.compile_boosters import LIGHTGBM, XGBOOST, booster
from jobs.compiled.compile_columns import Matrix, transform
from jobs.compiled.compile_linear import LINEAR, linear
from jobs.compiled.compile_trees import TREES, trees
from jobs.compiled.expressions import Coded, Lookups, Text, gather
from jobs.compiled.form import (
    Calibrated,
    Integers,
    Isotonic,
    Linear,
    Model,
    NotCompiledError,
    Number,
    Plan,
    Sigmoid,
    Step,
    Trees,
)
from jobs.spec import FeatureKind

if TYPE_CHECKING:
    from jobs.predictor import Predictor

FINITE = (Step("refuse_null"), Step("refuse_infinite"))


@dataclass
class Compilation:
    """The lookups and the models' columns so far."""

    lookups: Lookups = field(default_factory=Lookups)
    columns: list[Number | Coded] = field(default_factory=list)

    def place(self, given: Matrix, *checks: Step) -> Integers:
        """The columns as a model sees them, after what it refuses; their places."""
        start = len(self.columns)
        for column in given.columns:
            checked = self.lookups.stepped(column, *checks)
            if isinstance(checked, Text):
                raise NotCompiledError(f"the text {checked.feature} reaches the model")
            self.columns.append(checked)
        return np.arange(start, len(self.columns), dtype=np.int32)


def compile_predictor(predictor: Predictor) -> Plan:
    """The plan that gives the scores of a fitted predictor. Raises NotCompiledError, with a sentence that says why."""
    pipeline, features = predictor.pipeline, predictor.features
    first = next(step for _, step in pipeline.steps if not isinstance(step, str))
    names = getattr(first, "feature_names_in_", None)
    blank = "_" if type(first).__module__ == "lightgbm.sklearn" else " "  # which writes it so
    if names is None or list(names) != [name.replace(" ", blank) for name in features]:
        raise NotCompiledError("The pipeline does not compile: it was not fitted on the features by name and in order.")
    given = tuple(Text(name) if kind == FeatureKind.category.value else Number(name) for name, kind in features.items())
    work = Compilation()
    classes = predictor.task == "classification"
    if classes and len(getattr(pipeline, "classes_", ())) < 2:
        raise NotCompiledError("The pipeline does not compile: it knows fewer than two classes.")
    try:
        model = _model(pipeline, Matrix(given), work, classes=classes, decision=False)
        columns = gather([*work.columns, *work.lookups.checked], work.lookups)
        plan = Plan(predictor.task, dict(features), columns, model)
        check_plan(plan)
    except NotCompiledError as error:
        raise NotCompiledError(f"The pipeline does not compile: {error}.") from error
    return plan


def _model(step: Any, given: Matrix, work: Compilation, *, classes: bool, decision: bool) -> Model:
    """The model of a fitted estimator: its scores, or with `decision` its decision function where it has one."""
    name = type(step).__name__
    if type(step).__module__ in {"lightgbm.sklearn", "xgboost.sklearn"} and name in {*LIGHTGBM, *XGBOOST}:
        return booster(step, given, work, classes=classes, decision=decision)
    if not type(step).__module__.startswith("sklearn."):
        raise NotCompiledError(f"{name} is not covered")
    if name == "Pipeline":
        for _, inner in step.steps[:-1]:
            given = transform(inner, given, work.lookups)
        return _model(step.steps[-1][1], given, work, classes=classes, decision=decision)
    if name == "FrozenEstimator":
        return _model(step.estimator, given, work, classes=classes, decision=decision)
    if name == "CalibratedClassifierCV":
        return _calibrated(step, given, work)
    if name in LINEAR:
        return linear(step, work.place(given, *FINITE), classes=classes, decision=decision)
    if name in TREES:
        return trees(step, given, work, classes=classes, decision=decision)
    raise NotCompiledError(f"{name} is not covered")


def _calibrated(step: Any, given: Matrix, work: Compilation) -> Calibrated:
    members: list[Linear | Trees] = []
    calibrations: list[Sigmoid | Isotonic] = []
    if len(step.classes_) != 2:
        raise NotCompiledError("CalibratedClassifierCV is covered for two classes only")
    for entry in step.calibrated_classifiers_:
        member = _model(entry.estimator, given, work, classes=True, decision=True)
        if isinstance(member, Calibrated):
            raise NotCompiledError("CalibratedClassifierCV around another one is not covered")
        members.append(member)
        calibrations.append(_calibration(entry))
    return Calibrated(tuple(members), tuple(calibrations))


def _calibration(entry: Any) -> Sigmoid | Isotonic:
    calibrator = entry.calibrators[0]
    if entry.method == "sigmoid":
        return Sigmoid(float(calibrator.a_), float(calibrator.b_))
    if entry.method == "isotonic":
        x, y = calibrator.X_thresholds_, calibrator.y_thresholds_
        return Isotonic(np.array(x, np.float64), np.array(y, np.float64))
    raise NotCompiledError(f"CalibratedClassifierCV with the method {entry.method} is not covered")
