"""Whether a plan that was read from files is whole: kernels trust its indices blindly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.compiled.form import STEPS, Calibrated, Isotonic, Linear, Lookup, NotCompiledError, Number, Plan, Trees
from jobs.spec import FeatureKind

if TYPE_CHECKING:
    from jobs.compiled.form import Columns, Step

SEVERAL = ("softmax", "one_against_rest", "softmax_single")
SINGLE = ("plain_single", "expit_single", "exp_single", "softmax_single")
FINISHES = ("plain", "expit", "expit_twice", "exp", "clip", *SEVERAL, *SINGLE)
Array = np.ndarray[Any, Any]


def check_plan(plan: Plan) -> None:
    """Raise NotCompiledError, in one phrase, when an array has another type or length, or an index points nowhere."""
    if plan.task not in {"classification", "regression"}:
        raise NotCompiledError(f"its task is {plan.task!r}")
    for kind in plan.features.values():
        FeatureKind(kind)
    _check_columns(plan.columns, plan.features)
    _check_model(plan.model, len(plan.columns.lookup))


def _check_columns(columns: Columns, features: dict[str, str]) -> None:
    entries: list[Lookup | Number] = [*columns.lookups, *columns.numbers]
    for entry in entries:
        if entry.feature not in features:
            raise NotCompiledError(f"it uses {entry.feature}, which is no feature")
        is_text = features[entry.feature] == FeatureKind.category.value
        if is_text and (entry.steps or not isinstance(entry, Lookup) or len(entry.numbers)):
            raise NotCompiledError(f"it takes the text {entry.feature} for a number")
        if not is_text and isinstance(entry, Lookup) and entry.texts:
            raise NotCompiledError(f"it takes the number {entry.feature} for a text")
        _check_steps(entry.steps)
    for lookup in columns.lookups:
        _want(lookup.numbers, np.float64)
        _want(lookup.refused, np.bool_, lookup.null + 2)
        if len(set(lookup.texts)) != len(lookup.texts) or not (np.diff(lookup.numbers) > 0).all():
            raise NotCompiledError(f"the keys of {lookup.feature} are not in order")
    size = len(columns.lookup)
    _index(columns.lookup, len(columns.lookups), low=-1, size=size)
    _index(columns.number, len(columns.numbers), low=-1, size=size)
    if ((columns.lookup >= 0) == (columns.number >= 0)).any():
        raise NotCompiledError("a column is neither a number nor looked up")
    _want(columns.default, np.float64, size)
    _want(columns.values, np.float64, len(columns.codes))
    _offsets(columns.first, size, len(columns.codes))
    _want(columns.codes, np.int32)
    owner = columns.lookup[np.repeat(np.arange(size), np.diff(columns.first))]
    room = np.array([lookup.null + 2 for lookup in columns.lookups] + [0])[owner]
    if (columns.codes < 0).any() or (columns.codes >= room).any():
        raise NotCompiledError("a code points nowhere")


def _check_steps(steps: tuple[Step, ...]) -> None:
    for step in steps:
        if STEPS.get(step.name) != len(step.numbers):
            raise NotCompiledError(f"it has the step {step.name!r} with {len(step.numbers)} numbers")
        if not all(isinstance(number, float) for number in step.numbers):
            raise NotCompiledError(f"its step {step.name!r} holds what is no number")


def _check_model(model: object, columns: int) -> None:
    if isinstance(model, Calibrated):
        if not model.members or len(model.members) != len(model.calibrations):
            raise NotCompiledError("its calibrations are not as many as its models")
        for member, calibration in zip(model.members, model.calibrations, strict=True):
            _check_model(member, columns)
            if isinstance(calibration, Isotonic):
                _want(calibration.x, np.float64)
                _want(calibration.y, np.float64, max(len(calibration.x), 1))
    elif isinstance(model, Linear):
        outputs = len(model.intercepts)
        if model.finish in SINGLE:
            raise NotCompiledError("a linear model does not add in float32")
        _index(model.columns, columns, size=len(model.columns))
        _want(model.intercepts, np.float64)
        _want(model.weights, np.float64, outputs, len(model.columns))
        _check_finish(model.finish, outputs)
    elif isinstance(model, Trees):
        _check_trees(model, columns)
    else:
        raise NotCompiledError("it has no model that is known here")


def _check_trees(trees: Trees, columns: int) -> None:
    nodes, count = len(trees.feature), len(trees.output)
    _index(trees.columns, columns, size=len(trees.columns))
    _want(trees.base, np.float64)
    _offsets(trees.first, count, nodes)
    _index(trees.output, len(trees.base), size=count)
    _index(trees.feature, len(trees.columns), low=-1, size=nodes)
    _index(trees.split, len(trees.sets), low=-1, size=nodes)
    _want(trees.sets, np.bool_, len(trees.sets), 256)
    _want(trees.null_left, np.bool_, nodes)
    for values in (trees.threshold, trees.value):
        _want(values, np.float64, nodes)
    inner = np.flatnonzero(trees.feature >= 0)
    end = trees.first[np.searchsorted(trees.first, inner, side="right")]
    for child in (trees.left, trees.right):
        _index(child, max(nodes, 1), low=-1, size=nodes)
        if (child[inner] <= inner).any() or (child[inner] >= end).any():
            raise NotCompiledError("a tree has a node that does not come after its parent")
    if (np.diff(trees.first) < 1).any():
        raise NotCompiledError("a tree has no nodes")
    if np.isnan(trees.threshold[inner]).any():
        raise NotCompiledError("a threshold is no number")
    children = np.concatenate([trees.left[inner], trees.right[inner]])
    if len(np.unique(children)) != len(children) or 2 * len(inner) + count != nodes:
        raise NotCompiledError("a tree has a node with two parents, or none")
    _check_finish(trees.finish, len(trees.base))


def _check_finish(finish: str, outputs: int) -> None:
    if finish not in FINISHES or outputs < 1 or (outputs > 1) != (finish in SEVERAL):
        raise NotCompiledError(f"it finishes {outputs} outputs by {finish!r}")


def _want(array: Array, kind: type[np.generic], *shape: int) -> None:
    right = isinstance(array, np.ndarray) and array.dtype == kind and (not shape or array.shape == shape)
    if not right or not array.flags.c_contiguous or (not shape and array.ndim != 1):
        raise NotCompiledError("an array has another type or shape than it should")


def _index(array: Array, bound: int, *, size: int, low: int = 0) -> None:
    _want(array, np.int32, size)
    if (array < low).any() or (array >= bound).any():
        raise NotCompiledError("an index points nowhere")


def _offsets(array: Array, count: int, total: int) -> None:
    _want(array, np.int32, count + 1)
    if array[0] != 0 or array[-1] != total or (np.diff(array) < 0).any():
        raise NotCompiledError("offsets are out of order")
