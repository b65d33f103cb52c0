"""Fitted models of LightGBM and XGBoost as flat arrays of nodes, read from the text that each library saves.

How a null goes is the trees' own affair: LightGBM takes it for 0 where it saw none when it was trained. XGBoost adds
its leaves in float32, and so do the kernels for it; a `single` finish says so.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.compiled.compile_trees import Nodes, joined
from jobs.compiled.form import NotCompiledError, Step, Trees
from jobs.compiled.kernels.single import log_of, logit_of

if TYPE_CHECKING:
    from jobs.compiled.compile import Compilation
    from jobs.compiled.compile_columns import Matrix

LIGHTGBM = ("LGBMClassifier", "LGBMRegressor")
XGBOOST = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")
LIGHTGBM_FINISH = {
    "binary": "expit",
    "cross_entropy": "expit",
    "multiclass": "softmax",
    **dict.fromkeys(("poisson", "gamma", "tweedie"), "exp"),
    **dict.fromkeys(("regression", "regression_l1", "huber", "fair", "quantile", "mape"), "plain"),
}
XGBOOST_FINISH = {
    "binary:logistic": "expit_single",
    "reg:logistic": "expit_single",
    "multi:softprob": "softmax_single",
    **dict.fromkeys(("count:poisson", "reg:gamma", "reg:tweedie"), "exp_single"),
    **dict.fromkeys(("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror"), "plain_single"),
}
CATEGORICAL, DEFAULT_LEFT, MISSING_ZERO, MISSING_NAN = 1, 2, 4, 8
"""Bits of LightGBM's decision_type."""
ZERO = 1.0000000180025095e-35
"""LightGBM's kZeroThreshold, 1e-35 as float32: its dense prediction takes whatever is not farther from 0 as 0."""
ZERO_IS_NULL = Step("replace", (0.0, float("nan")))
"""What a sparse matrix leaves out is a null to XGBoost, and 0 to LightGBM."""


def booster(step: Any, given: Matrix, work: Compilation, *, classes: bool, decision: bool) -> Trees:
    """The trees of a fitted estimator over its columns. Raises NotCompiledError for what is not covered.

    With `decision` they give its decision function, if it has one: XGBoost has none, and LightGBM since 4.7.
    """
    name = type(step).__name__
    if classes != name.endswith("Classifier"):
        raise NotCompiledError(f"{name} does not do the task")
    if name in XGBOOST:
        columns = work.place(given, *([ZERO_IS_NULL] if given.sparse else []))
        parts, output, base, finish = _xgboost(step)
        return joined(parts, columns, output, base, finish, single=True)
    columns = work.place(given)
    parts, outputs, divisor, finish = _lightgbm(step)
    output = np.arange(len(parts)) % outputs
    if decision and hasattr(step, "decision_function"):
        finish = "plain"
    return joined(parts, columns, output, np.zeros(outputs), finish, single=False, divisor=divisor)


def _lightgbm(step: Any) -> tuple[list[Nodes], int, float, str]:
    """Nodes, the number of outputs, what sums are divided by, and the finish."""
    head, *trees = step.booster_.model_to_string().split("\nTree=")
    about = _entries(head)
    objective, *options = about["objective"].split(" ")
    odd = [option for option in options if option not in {"sigmoid:1", f"num_class:{about['num_class']}"}]
    if objective not in LIGHTGBM_FINISH or odd:
        raise NotCompiledError(f"LightGBM with the objective {about['objective']} is not covered")
    parts = [_lightgbm_nodes(_entries(tree.split("\nend of trees")[0])) for tree in trees]
    outputs = int(about["num_tree_per_iteration"])
    divisor = len(parts) / outputs if "average_output" in head.splitlines() else 1.0
    return parts, outputs, divisor, LIGHTGBM_FINISH[objective]


def _entries(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _lightgbm_nodes(tree: dict[str, str]) -> Nodes:
    """The inner nodes first, the leaves after them; a child below zero is the leaf ~child."""
    leaves = int(tree["num_leaves"])
    inner = leaves - 1

    def numbers(name: str, kind: type) -> Any:
        return np.array(tree[name].split(" "), kind) if inner else np.empty(0, kind)

    decision, threshold = numbers("decision_type", np.int64), numbers("threshold", np.float64)
    if (decision & CATEGORICAL).any() or tree.get("is_linear", "0") != "0":
        raise NotCompiledError("LightGBM with categories or linear trees of its own is not covered: encode them before")
    if (decision & MISSING_ZERO).any():
        raise NotCompiledError("LightGBM with zero_as_missing is not covered")
    threshold = np.where(threshold == -ZERO, np.nextafter(threshold, -np.inf), threshold)  # that value is a zero, too
    as_zero = (decision & MISSING_NAN) == 0
    children = [numbers(name, np.int64) for name in ("left_child", "right_child")]
    left, right = (np.where(child < 0, inner + ~child, child) for child in children)
    return {
        "feature": np.append(numbers("split_feature", np.int64), np.full(leaves, -1)),
        "threshold": np.append(threshold, np.zeros(leaves)),
        "left": np.append(left, np.full(leaves, -1)),
        "right": np.append(right, np.full(leaves, -1)),
        "null_left": np.append(
            np.where(as_zero, threshold >= 0, (decision & DEFAULT_LEFT) > 0), np.zeros(leaves, bool)
        ),
        "split": np.full(inner + leaves, -1),
        "sets": np.zeros((0, 256), np.bool_),
        "value": np.append(np.zeros(inner), np.array(tree["leaf_value"].split(" "), np.float64)),
    }


def _xgboost(step: Any) -> tuple[list[Nodes], Any, Any, str]:
    """Nodes, the output of each tree, what the sums begin with, and the finish."""
    learner = json.loads(step.get_booster().save_raw("json"))["learner"]
    objective, trained = learner["objective"]["name"], learner["gradient_booster"]
    if objective not in XGBOOST_FINISH:
        raise NotCompiledError(f"XGBoost with the objective {objective} is not covered")
    if trained["name"] != "gbtree" or int(learner["learner_model_param"]["num_target"]) > 1:
        raise NotCompiledError(f"XGBoost with the booster {trained['name']}, or several targets, is not covered")
    if not (isinstance(step.missing, float) and np.isnan(step.missing)):
        raise NotCompiledError("XGBoost with missing other than NaN is not covered")
    model = trained["model"]
    best = getattr(step, "best_iteration", None)  # raises AttributeError unless it was stopped early
    count = len(model["trees"]) if best is None else model["iteration_indptr"][best + 1]
    finish = XGBOOST_FINISH[objective]
    begin = np.atleast_1d(np.array(json.loads(learner["learner_model_param"]["base_score"]), np.float32))
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    base = np.resize([_margin(score, finish) for score in begin], outputs).astype(np.float64)
    return [_xgboost_nodes(tree) for tree in model["trees"][:count]], model["tree_info"][:count], base, finish


def _margin(score: np.float32, finish: str) -> float:
    """The raw score that an objective begins with, from the score that it stands for."""
    if finish == "expit_single":
        return float(logit_of(score))
    return float(log_of(score) if finish == "exp_single" else score)


def _xgboost_nodes(tree: dict[str, Any]) -> Nodes:
    """The nodes that the root leads to, a parent before its children: what was pruned stays behind."""
    if any(tree["split_type"]) or int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise NotCompiledError("XGBoost with categories of its own, or several targets, is not covered")
    left, right = np.array(tree["left_children"]), np.array(tree["right_children"])
    order = [0]
    for node in order:
        if left[node] >= 0:
            order += [int(left[node]), int(right[node])]
    place = np.full(len(left), -1)
    place[order] = np.arange(len(order))
    leaf = left[order] < 0
    condition = np.array(tree["split_conditions"], np.float32)[order]
    below = np.nextafter(condition, np.float32(-np.inf))  # it goes left when it is less, and here when it is at most
    return {
        "feature": np.where(leaf, -1, np.array(tree["split_indices"])[order]),
        "threshold": np.where(leaf, 0.0, below.astype(np.float64)),
        "left": np.where(leaf, -1, place[left[order]]),
        "right": np.where(leaf, -1, place[right[order]]),
        "null_left": np.array(tree["default_left"])[order] > 0,
        "split": np.full(len(order), -1),
        "sets": np.zeros((0, 256), np.bool_),
        "value": np.where(leaf, condition.astype(np.float64), 0.0),
    }
