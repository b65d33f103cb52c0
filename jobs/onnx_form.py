"""The ONNX form of a version: made where the pipeline converts, kept where it agrees with scikit-learn on real rows.

Its inputs are the features by name, each of shape (rows, 1): `category` is text, with NULL_TEXT for a null; `number`
and `flag` are floats of one precision, with NaN for a null. Its last output holds the scores, or for a classification
the probabilities of both classes.
"""

from __future__ import annotations

import os
import re
import warnings
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.errors import in_brief
from jobs.onnx_imputer import NULL_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    from sklearn.pipeline import Pipeline

    from jobs.predictor import Predictor

ONNX_FILE = "onnx/model.onnx"
ONNX_NOTE = "onnx.json"
AGREEMENT = 1e-4
MOST_ROWS = 10_000
MOST_NUMBERS = 5_000_000  # a forest of as many converts in about twenty seconds
MOST_CELLS = 10_000_000  # of one-hot columns ONNX makes a dense table, and more than one copy of it
FEWEST_ROWS = 100
VALUES = re.compile(r"""'[^']*'?|"[^"]*"?|\[[^\]]*\]?|https?:\S+""")  # what a message may quote of the data
PACKAGES = ("skl2onnx", "onnxruntime")
Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class OnnxForm:
    """`model` is the file's content, or None and `reason` says why in one sentence.

    `difference` is the largest one from scikit-learn's scores on the rows, as AGREEMENT bounds it; None where nothing
    could be compared. `precision` is that of the inputs, `float64` or `float32`.
    """

    model: bytes | None
    difference: float | None
    reason: str
    precision: str | None = None

    def note(self) -> OnnxNote:
        """What the version's run keeps about it."""
        if self.model is None:
            return OnnxNote(None, f"There is no ONNX form: {self.reason}")
        words = f"Its ONNX form ({ONNX_FILE} of the run, inputs in {self.precision}) agrees with scikit-learn on the "
        return OnnxNote(self.difference, f"{words}holdout: the largest difference is {self.difference:.1g}.")


@dataclass(frozen=True)
class OnnxNote:
    """Whether a version has an ONNX form, in words, and how far it is from scikit-learn's scores."""

    difference: float | None
    sentence: str


def to_onnx(predictor: Predictor, features: pd.DataFrame) -> OnnxForm:
    """The ONNX form of a fitted pipeline, held against its scores on treated rows, shape (rows, features).

    float64 is tried first, as it rounds like scikit-learn; many operators have float32 only. The difference is relative
    to the largest score for a regression and plain for a probability: AGREEMENT is a hundred times what float32 rounds
    on real models, and a hundredth of a percentage point, which changes no decision; a row that takes another branch of
    a tree, or a null that is read otherwise, differs by far more. Never raises for a pipeline that does not convert.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        return OnnxForm(None, None, f"The package {' and '.join(missing)} is not installed.")
    if not len(features):
        return OnnxForm(None, None, "There are no rows to compare ONNX with scikit-learn on.")
    size = _numbers(predictor.pipeline)
    if size > MOST_NUMBERS:
        return OnnxForm(
            None, None, f"The pipeline is too large to convert: {size:,} numbers, at most {MOST_NUMBERS:,}."
        )
    wide = _widest(predictor.pipeline)
    most = min(len(features), MOST_ROWS, MOST_CELLS // wide)
    if most < min(len(features), FEWEST_ROWS):
        return OnnxForm(None, None, f"The pipeline makes {wide:,} columns, and ONNX would keep all their zeros.")
    rows = features.iloc[np.unique(np.linspace(0, len(features) - 1, most).astype(int))]
    form = OnnxForm(None, None, "")
    for precision in ("float64", "float32"):
        form = _attempt(predictor, rows, precision)
        if form.model is not None:
            break
    return form


def _widest(pipeline: Pipeline) -> int:
    """The most columns that a step of the pipeline takes."""
    return max([1, *(int(getattr(step, "n_features_in_", 1)) for _, step in pipeline.steps)])


def _attempt(predictor: Predictor, rows: pd.DataFrame, precision: str) -> OnnxForm:
    try:
        with _quiet():
            model = _convert(predictor, precision)
            found = run_onnx(model, predictor, rows, precision)
            wanted = predictor.score(rows)
    except Exception as error:  # noqa: BLE001 - converters and runtimes raise anything
        return OnnxForm(None, None, f"The pipeline does not convert to ONNX: {_why(predictor, error)}.")
    scale = 1.0 if predictor.task == "classification" else float(np.max(np.abs(wanted))) or 1.0
    apart = np.abs(found - wanted) / scale if found.shape == wanted.shape else np.full(len(wanted), np.inf)
    apart = np.where(np.isfinite(apart), apart, np.inf)
    difference = float(apart.max())
    if difference <= AGREEMENT:
        agreed = f"ONNX in {precision} agrees with scikit-learn on {len(rows):,} rows, up to {difference:.1g}."
        return OnnxForm(model, difference, agreed, precision)
    wrong = apart > AGREEMENT
    nulls = rows.isna().any(axis=1).to_numpy()
    where = ", all of them with nulls" if not (wrong & ~nulls).any() else ""
    return OnnxForm(
        None,
        difference,
        f"ONNX in {precision} differs from scikit-learn by up to {difference:.1g} on {wrong.mean():.1%} of the rows"
        f"{where}; at most {AGREEMENT:g} is allowed.",
    )


def _convert(predictor: Predictor, precision: str) -> bytes:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType

    from jobs.onnx_imputer import convert_imputer, imputer_shape, imputer_type

    number = DoubleTensorType if precision == "float64" else FloatTensorType
    inputs = [
        (name, StringTensorType([None, 1]) if kind == "category" else number([None, 1]))
        for name, kind in predictor.features.items()
    ]
    outputs = [("score", DoubleTensorType([None, 1]))]
    if predictor.task == "classification":
        outputs = [("label", Int64TensorType([None])), ("probabilities", DoubleTensorType([None, 2]))]
    model = convert_sklearn(
        predictor.pipeline,
        name="lamplighter",
        initial_types=inputs,
        final_types=outputs if precision == "float64" else None,  # left alone, it takes some for float32
        options={id(predictor.pipeline): {"zipmap": False}} if predictor.task == "classification" else None,
        custom_conversion_functions={imputer_type(): convert_imputer},
        custom_shape_calculators={imputer_type(): imputer_shape},
    )
    return bytes(model.SerializeToString())


def run_onnx(model: bytes, predictor: Predictor, rows: pd.DataFrame, precision: str) -> Vector:
    """The scores that an ONNX form gives for treated rows, on one thread; shape (rows,)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    used = {entry.name for entry in session.get_inputs()}
    feeds = {n: _fed(rows[n], kind, precision) for n, kind in predictor.features.items() if n in used}
    last = np.asarray(session.run(None, feeds)[-1], dtype=np.float64)
    return last[:, 1] if predictor.task == "classification" else last.reshape(-1)


def _fed(column: pd.Series, kind: str, precision: str) -> np.ndarray[Any, Any]:
    if kind == "category":
        return column.fillna(NULL_TEXT).to_numpy(dtype=object).reshape(-1, 1)
    return column.to_numpy(dtype=precision).reshape(-1, 1)


def _why(predictor: Predictor, error: Exception) -> str:
    learner = type(predictor.pipeline.steps[-1][1]).__name__ if predictor.pipeline.steps else ""
    if learner.startswith("HistGradientBoosting"):
        return f"histogram trees ({learner}) are not supported"
    return VALUES.sub("...", in_brief(error)).rstrip(".")


def _numbers(thing: Any) -> int:
    """About how many numbers a fitted pipeline holds: what its conversion takes time for."""
    import io
    import pickle  # only to measure: nothing is loaded

    class Count(io.RawIOBase):
        size = 0

        def write(self, block: Any) -> int:
            self.size += memoryview(block).nbytes
            return memoryview(block).nbytes

    count = Count()
    try:
        pickle.Pickler(count, protocol=5).dump(thing)
    except (pickle.PicklingError, AttributeError, TypeError):
        return MOST_NUMBERS + 1  # not measurable: a type that no worker would load either
    return count.size // 8


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing of what converters print or warn reaches logs: it may hold values."""
    with warnings.catch_warnings(), open(os.devnull, "w") as nowhere:  # noqa: PTH123
        warnings.simplefilter("ignore")
        with redirect_stdout(nowhere), redirect_stderr(nowhere), np.errstate(all="ignore"):
            yield
