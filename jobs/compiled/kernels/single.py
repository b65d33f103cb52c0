"""Functions of float32 as XGBoost calculates them: by the C library's expf and logf, which NumPy's own differ from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jobs.compiled.kernels.compiler import kernel

Array = np.ndarray[Any, Any]
LARGEST = np.float32(88.7)
"""What XGBoost bounds the exponent by, so that expf stays finite."""


@kernel("void(float32[::1])")
def exp_all(values: Array) -> None:
    """Each value becomes its exponential."""
    for row in range(values.shape[0]):
        values[row] = math.exp(values[row])


@kernel("void(float32[::1])")
def expit_all(values: Array) -> None:
    """Each raw score becomes a probability."""
    one = np.float32(1.0)
    for row in range(values.shape[0]):
        power = np.float32(math.exp(min(-values[row], LARGEST)))
        values[row] = one / (power + one)


@kernel("float32(float32)")
def logit_of(probability: Any) -> Any:
    """The raw score of a probability."""
    return -math.log(np.float32(1.0) / probability - np.float32(1.0))


@kernel("float32(float32)")
def log_of(number: Any) -> Any:
    """The logarithm."""
    return math.log(number)
