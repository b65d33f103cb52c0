"""Scores from compiled pipelines: what `Predictor.score` gives, without scikit-learn, pandas or MLflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit

from jobs.compiled.check import SINGLE
from jobs.compiled.columns import Batch
from jobs.compiled.form import Calibrated, Doubles, Isotonic, Linear, Plan, Sigmoid, Trees
from jobs.compiled.format import load_plan
from jobs.compiled.kernels.numbers import add_codes, add_numbers
from jobs.compiled.kernels.single import exp_all, expit_all
from jobs.compiled.planes import Planes
from jobs.compiled.walks import Walks

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.compiled.form import Columns


class CompiledPredictor:
    """A compiled pipeline, ready to score."""

    def __init__(self, plan: Plan) -> None:
        self.task = plan.task
        self.features = plan.features
        self._columns = plan.columns
        self._model = _ready(plan.model, plan.columns)

    def score(self, table: pa.Table, where: str = "the rows", numbers: Mapping[str, Doubles] | None = None) -> Doubles:
        """One score for each row of a table as it is read: the probability of class 1, or the number. Shape (rows,).

        The columns may be dictionaries or plain, with nulls; `numbers` has those that are float64 already, with NaN for
        a null, which saves time. Raises Misconfigured when the pipeline cannot take the rows, and Rejected, naming file
        (`where`) and column, for a type that the feature's kind does not allow.
        """
        if not table.num_rows:
            return np.empty(0)
        batch = Batch(table, self.features, self._columns, where, numbers)
        batch.check()
        with np.errstate(all="ignore"):  # scores that are not finite are counted, and judged by the output gate
            return self._model.score(batch)


class _LinearModel:
    def __init__(self, model: Linear, columns: Columns) -> None:
        self._model = model
        self._terms: list[tuple[int, int, Doubles]] = []  # lookup or -1, column or -1, weights by output (and code)
        folded: dict[int, int] = {}
        for place, column in enumerate(model.columns):
            weights = model.weights[:, place]
            lookup = int(columns.lookup[column])
            if lookup < 0:
                self._terms.append((-1, int(column), weights))
                continue
            if lookup not in folded:
                folded[lookup] = len(self._terms)
                self._terms.append((lookup, -1, np.zeros((len(weights), columns.lookups[lookup].null + 2))))
            entries = slice(columns.first[column], columns.first[column + 1])
            worth = self._terms[folded[lookup]][2]
            if columns.default[column]:
                worth += np.outer(weights, columns.table(int(column)))
            else:
                worth[:, columns.codes[entries]] += np.outer(weights, columns.values[entries])

    def score(self, batch: Batch) -> Doubles:
        total = np.zeros((len(self._model.intercepts), batch.rows))
        for lookup, column, weights in self._terms:
            for output, sums in enumerate(total):
                if lookup >= 0:
                    add_codes(batch.codes(lookup), weights[output], sums)
                else:
                    add_numbers(batch.values(column), float(weights[output]), sums)
        total += self._model.intercepts[:, None]
        return finish(total, self._model.finish)


class _TreeModel:
    def __init__(self, model: Trees, columns: Columns) -> None:
        self._model = model
        self._trees = Planes(model, columns) if Planes.fit(model, columns) else Walks(model, columns)

    def score(self, batch: Batch) -> Doubles:
        model = self._model
        sums = np.float32 if model.finish in SINGLE else np.float64
        total = np.repeat(model.base[:, None].astype(sums), batch.rows, axis=1)
        self._trees.add(batch, total)
        if model.divisor != 1.0:
            total /= model.divisor
        return finish(total, model.finish)


class _CalibratedModel:
    def __init__(self, model: Calibrated, columns: Columns) -> None:
        self._members = [_ready(member, columns) for member in model.members]
        self._calibrations = model.calibrations

    def score(self, batch: Batch) -> Doubles:
        total = np.zeros(batch.rows)
        for member, calibration in zip(self._members, self._calibrations, strict=True):
            total += calibrate(member.score(batch), calibration)
        return total / len(self._members)


def _ready(model: Linear | Trees | Calibrated, columns: Columns) -> _LinearModel | _TreeModel | _CalibratedModel:
    if isinstance(model, Linear):
        return _LinearModel(model, columns)
    return _TreeModel(model, columns) if isinstance(model, Trees) else _CalibratedModel(model, columns)


FINISH: dict[str, Callable[[Doubles], Doubles]] = {
    "plain": lambda raw: raw,
    "expit": expit,
    "expit_twice": lambda raw: expit(2 * raw),
    "exp": np.exp,
    "clip": lambda raw: (np.clip(raw, -1, 1) + 1.0) / 2.0,
}


def finish(raw: Doubles, how: str) -> Doubles:
    """From raw scores, shape (outputs, rows), to scores, shape (rows,): of class 1, where there are classes."""
    if how in SINGLE:
        return _finish_single(raw, how).astype(np.float64)
    if how == "softmax":
        powers = np.exp(raw - raw.max(axis=0))
        return powers[1] / powers.sum(axis=0)  # type: ignore[no-any-return]
    if how == "one_against_rest":
        each = expit(raw)
        together = each.sum(axis=0)
        return np.where(together == 0, 1 / len(raw), each[1] / np.where(together == 0, 1, together))
    return FINISH[how](raw[0])


def _finish_single(raw: np.ndarray[Any, Any], how: str) -> np.ndarray[Any, Any]:
    """The same in float32, as XGBoost does it; changes the raw scores."""
    if how == "softmax_single":
        powers = raw - raw.max(axis=0)
        exp_all(powers.reshape(-1))
        return powers[1] / powers.sum(axis=0, dtype=np.float64).astype(np.float32)  # type: ignore[no-any-return]
    if how == "expit_single":
        expit_all(raw[0])
    elif how == "exp_single":
        exp_all(raw[0])
    return np.asarray(raw[0])


def calibrate(scores: Doubles, calibration: Sigmoid | Isotonic) -> Doubles:
    """Scores as probabilities, as scikit-learn's calibrations calculate them. Shape (rows,)."""
    if isinstance(calibration, Sigmoid):
        return expit(-(calibration.slope * scores + calibration.intercept))  # type: ignore[no-any-return]
    return np.interp(scores, calibration.x, calibration.y)


@lru_cache(maxsize=4)
def load(folder: str | Path) -> CompiledPredictor:
    """The compiled predictor in a folder; kept for the next fragment of the same process.

    Raises Misconfigured when the files are not a compiled form of this format.
    """
    return CompiledPredictor(load_plan(Path(folder)))


def warm() -> None:
    """Compile every kernel and keep it on disk, so that no scoring process has to; for setups and images.

    Importing this module has done it: each kernel has its types written down, and nothing is compiled later.
    """
