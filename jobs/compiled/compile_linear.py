"""Fitted linear models as weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from jobs.compiled.form import Integers, Linear, NotCompiledError

PLAIN = (
    "ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "HuberRegressor", "Lars", "LarsCV", "Lasso",
    "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression", "LinearSVR", "OrthogonalMatchingPursuit",
    "OrthogonalMatchingPursuitCV", "QuantileRegressor", "Ridge", "RidgeCV", "SGDRegressor", "TheilSenRegressor",
)  # fmt: skip
GENERALIZED = ("GammaRegressor", "PoissonRegressor", "TweedieRegressor")
PROBABILITY = ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier")
DECISION = ("LinearSVC", "RidgeClassifier", "RidgeClassifierCV")
LINEAR = (*PLAIN, *GENERALIZED, *PROBABILITY, *DECISION)
LINKS = {"IdentityLink": "plain", "LogLink": "exp"}


def linear(step: Any, columns: Integers, *, classes: bool, decision: bool) -> Linear:
    """The weights of a fitted linear model over its columns."""
    weights = np.atleast_2d(np.array(step.coef_, np.float64))
    intercepts = np.broadcast_to(np.asarray(step.intercept_, np.float64).reshape(-1), (len(weights),)).copy()
    finish = _finish(step, len(weights), decision=decision)
    if classes != (type(step).__name__ in (*PROBABILITY, *DECISION)):
        raise NotCompiledError(f"{type(step).__name__} does not do the task")
    return Linear(columns, np.ascontiguousarray(weights), intercepts, finish)


def _finish(step: Any, outputs: int, *, decision: bool) -> str:
    name = type(step).__name__
    if name in GENERALIZED:
        link = type(step._base_loss.link).__name__  # noqa: SLF001 - "auto" is resolved there alone
        if link not in LINKS:
            raise NotCompiledError(f"{name} with the link {link} is not covered")
        return LINKS[link]
    if outputs > 1 and (decision or name in PLAIN):
        raise NotCompiledError(f"{name} with several outputs is not covered here")
    if decision or name in PLAIN:
        return "plain"
    if name == "SGDClassifier" and step.loss == "modified_huber" and outputs == 1:
        return "clip"
    if name in DECISION or (name == "SGDClassifier" and step.loss != "log_loss"):
        raise NotCompiledError(f"{name} with this loss gives no probabilities that are covered")
    if outputs == 1:
        return "expit"
    return "one_against_rest" if name == "SGDClassifier" else "softmax"
