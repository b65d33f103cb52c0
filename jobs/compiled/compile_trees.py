"""Fitted trees, forests and boosted trees as flat arrays of nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.compiled.compile_columns import Matrix, transform
from jobs.compiled.expressions import Coded
from jobs.compiled.form import Flags, NotCompiledError, Step, Trees

if TYPE_CHECKING:
    from jobs.compiled.compile import Compilation

HISTOGRAM = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
BOOSTED = ("GradientBoostingClassifier", "GradientBoostingRegressor")
FORESTS = ("ExtraTreesClassifier", "ExtraTreesRegressor", "RandomForestClassifier", "RandomForestRegressor")
SINGLE = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
TREES = (*HISTOGRAM, *BOOSTED, *FORESTS, *SINGLE)
LINKS = {"IdentityLink": "plain", "LogLink": "exp", "LogitLink": "expit", "HalfLogitLink": "expit_twice",
         "MultinomialLogit": "softmax"}  # fmt: skip
Nodes = dict[str, Any]


def trees(step: Any, given: Matrix, work: Compilation, *, classes: bool, decision: bool) -> Trees:
    """The trees of a fitted estimator over its columns."""
    name = type(step).__name__
    if classes != name.endswith("Classifier"):
        raise NotCompiledError(f"{name} does not do the task")
    if name in HISTOGRAM:
        return _histogram(step, given, work, decision=decision)
    first = step.estimators_[0] if name in FORESTS else step
    allows_null = (
        name not in BOOSTED and not given.sparse and first._support_missing_values(np.empty((0, 0)))  # noqa: SLF001
    )
    checks = [] if allows_null else [Step("refuse_null")]
    columns = work.place(Matrix(given.columns), *checks, Step("refuse_large"))
    if name in BOOSTED:
        parts, base, finish = _boosted(step, decision=decision)
        output = np.tile(np.arange(len(base)), len(parts) // len(base))
        return joined(parts, columns, output, base, finish, single=True)
    if step.n_outputs_ != 1:
        raise NotCompiledError(f"{name} with several targets is not covered")
    estimators = step.estimators_ if name in FORESTS else [step]
    parts = [_nodes(estimator.tree_, 1 if classes else 0) for estimator in estimators]
    return joined(parts, columns, np.zeros(len(parts)), np.zeros(1), "plain", single=True, divisor=float(len(parts)))


def _histogram(step: Any, given: Matrix, work: Compilation, *, decision: bool) -> Trees:
    if given.sparse:
        raise NotCompiledError(f"{type(step).__name__} takes no sparse matrix")
    if step._preprocessor is not None:  # noqa: SLF001
        given = _own_encoding(step._preprocessor, given, work)  # noqa: SLF001
    columns = work.place(given)
    predictors = [predictor for stage in step._predictors for predictor in stage]  # noqa: SLF001
    known, where = step._bin_mapper.make_known_categories_bitsets()  # noqa: SLF001
    parts = [_histogram_nodes(predictor, known, where) for predictor in predictors]
    for place, column in enumerate(given.columns):
        splits = any((part["split"][part["feature"] == place] >= 0).any() for part in parts)
        if splits and not (isinstance(column, Coded) and np.nanmax(work.lookups.dense(column), initial=0) < 256):
            raise NotCompiledError(f"{type(step).__name__} splits numbers into sets")
    base = np.array(step._baseline_prediction, np.float64).reshape(-1)  # noqa: SLF001
    output = np.tile(np.arange(len(base)), len(parts) // len(base))
    return joined(parts, columns, output, base, _link(step, len(base), decision=decision), single=False)


def _own_encoding(preprocessor: Any, given: Matrix, work: Compilation) -> Matrix:
    """The columns as HistGradientBoosting reorders and encodes them itself: categories first, then numbers as is."""
    found: list[Any] = []
    for name, inner, _ in preprocessor.transformers_:
        places = preprocessor._transformer_to_input_indices[name]  # noqa: SLF001
        part = Matrix(tuple(given.columns[i] for i in places))
        found += transform(inner, part, work.lookups).columns if name == "encoder" and len(places) else part.columns
    return Matrix(tuple(found))


def _histogram_nodes(predictor: Any, known: Any, where: Any) -> Nodes:
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    split = np.where(leaf | (nodes["is_categorical"] == 0), -1, nodes["bitset_idx"].astype(np.int64))
    sets = np.zeros((len(predictor.raw_left_cat_bitsets), 256), np.bool_)
    for node in np.flatnonzero(split >= 0):
        unknown = ~_bits(known[where[nodes["feature_idx"][node]]])
        goes_left = _bits(predictor.raw_left_cat_bitsets[split[node]])
        sets[split[node]] = goes_left | (unknown & bool(nodes["missing_go_to_left"][node]))
    return {
        "feature": np.where(leaf, -1, nodes["feature_idx"]),
        "threshold": np.where(leaf | (split >= 0), 0.0, nodes["num_threshold"]),
        "left": np.where(leaf, -1, nodes["left"].astype(np.int64)),
        "right": np.where(leaf, -1, nodes["right"].astype(np.int64)),
        "null_left": nodes["missing_go_to_left"].astype(bool),
        "split": split,
        "sets": sets,
        "value": nodes["value"],
    }


def _bits(words: Any) -> Flags:
    """256 flags from eight words of 32 bits."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), bitorder="little").astype(np.bool_)


def _nodes(tree: Any, column: int) -> Nodes:
    leaf = tree.children_left < 0
    return {
        "feature": np.where(leaf, -1, tree.feature),
        "threshold": np.where(leaf, 0.0, tree.threshold),
        "left": tree.children_left,
        "right": tree.children_right,
        "null_left": tree.missing_go_to_left.astype(bool),
        "split": np.full(len(leaf), -1),
        "sets": np.zeros((0, 256), np.bool_),
        "value": tree.value[:, 0, column],
    }


def _boosted(step: Any, *, decision: bool) -> tuple[list[Nodes], Any, str]:
    from sklearn.ensemble._gb import _init_raw_predictions

    outputs = step.estimators_.shape[1]
    if isinstance(step.init_, str):  # "zero"
        base = np.zeros(outputs)
    elif type(step.init_).__name__ in {"DummyClassifier", "DummyRegressor"}:
        rows = np.zeros((1, step.n_features_in_), np.float32)
        base = _init_raw_predictions(rows, step.init_, step._loss, type(step).__name__.endswith("Classifier"))[0]  # noqa: SLF001
    else:
        raise NotCompiledError(f"{type(step).__name__} that begins with another estimator is not covered")
    parts = [_nodes(estimator.tree_, 0) for stage in step.estimators_ for estimator in stage]
    for part in parts:
        part["value"] = step.learning_rate * part["value"]
    return parts, np.array(base, np.float64), _link(step, outputs, decision=decision)


def _link(step: Any, outputs: int, *, decision: bool) -> str:
    if decision:
        if outputs > 1:
            raise NotCompiledError(f"{type(step).__name__} with several classes is not covered here")
        return "plain"
    link = type(step._loss.link).__name__  # noqa: SLF001
    if type(step).__name__ == "GradientBoostingRegressor":
        return "plain"  # whose predict gives the raw scores
    if link not in LINKS:
        raise NotCompiledError(f"{type(step).__name__} with the link {link} is not covered")
    return LINKS[link]


def joined(
    parts: list[Nodes], columns: Any, output: Any, base: Any, finish: str, *, single: bool, divisor: float = 1.0
) -> Trees:
    """The nodes of all trees one after the other; see `Trees`."""
    sizes = np.array([len(part["feature"]) for part in parts], np.int64)
    first = np.concatenate([[0], np.cumsum(sizes)])
    if first[-1] >= np.iinfo(np.int32).max:
        raise NotCompiledError("the trees have too many nodes")
    sets = np.concatenate([[0], np.cumsum([len(part["sets"]) for part in parts])])

    def together(name: str, offsets: Any = None) -> Any:
        found = [part[name] for part in parts]
        if offsets is not None:
            found = [np.where(v < 0, -1, v + offset) for v, offset in zip(found, offsets[:-1], strict=True)]
        return np.concatenate(found)

    return Trees(
        columns=columns,
        single=single,
        first=first.astype(np.int32),
        output=np.asarray(output).astype(np.int32),
        feature=together("feature").astype(np.int32),
        threshold=together("threshold").astype(np.float64),
        left=together("left", first).astype(np.int32),
        right=together("right", first).astype(np.int32),
        null_left=together("null_left"),
        split=together("split", sets).astype(np.int32),
        sets=together("sets"),
        value=together("value").astype(np.float64),
        base=base,
        divisor=divisor,
        finish=finish,
    )
