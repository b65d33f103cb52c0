"""The parity gate: a compiled form is kept only where it gives scikit-learn's scores on real rows as they are read."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from jobs.compiled.form import NotCompiledError, Plan
from jobs.errors import Misconfigured, in_brief
from jobs.spec import FeatureKind
from jobs.treat import treat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pandas as pd

    from jobs.compiled.form import Doubles
    from jobs.compiled.predictor import CompiledPredictor
    from jobs.predictor import Predictor
    from jobs.spec import ModelSpec

COMPILED_NOTE = "compiled.json"
AGREEMENT = 1e-12
CHANGED_ROWS = 200
UNSEEN = "\0never seen"
STRANGE = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e9, -1e300)


@dataclass(frozen=True)
class CompiledForm:
    """A plan, or None and `reason` says why in one sentence; on how many rows it was held against scikit-learn.

    `difference` is the largest one from scikit-learn's scores, as AGREEMENT bounds it; None when there is none to tell.
    """

    plan: Plan | None
    difference: float | None
    rows: int
    reason: str = ""

    def note(self) -> CompiledNote:
        """What the version's run keeps about it."""
        if self.plan is None:
            return CompiledNote(self.difference, f"There is no compiled form, scikit-learn scores: {self.reason}")
        agrees = "to the last bit" if self.difference == 0 else f"up to {self.difference:.1g}"
        return CompiledNote(
            self.difference,
            f"Its compiled form scores; on {self.rows:,} rows of the holdout, and on rows with nulls, unseen and "
            f"extreme values, it agrees with scikit-learn {agrees}.",
        )


@dataclass(frozen=True)
class CompiledNote:
    """Whether a version has a compiled form, in words, and how far it is from scikit-learn's scores."""

    difference: float | None
    sentence: str


class _DisagreesError(Exception):
    """Why the two forms do not agree, as one sentence, and by how much where that is known."""

    def __init__(self, reason: str, difference: float | None = None) -> None:
        super().__init__(reason)
        self.difference = difference


def to_compiled(predictor: Predictor, spec: ModelSpec, tables: Iterable[pa.Table]) -> CompiledForm:
    """The compiled form of a fitted pipeline, held against its scores on tables as the production reader gives them.

    The difference is plain for a probability, and relative to the largest score (at least 1) for a regression. Never
    raises for a pipeline that does not compile or does not agree.
    """
    from jobs.compiled.compile import compile_predictor  # loads all kernels, which nobody else here needs
    from jobs.compiled.predictor import CompiledPredictor

    rows, difference = 0, 0.0
    try:
        plan = compile_predictor(predictor)
        compiled = CompiledPredictor(plan)
        for table in tables:
            treated = treat(table, spec, "the holdout")
            good = treated.good
            difference = max(
                difference, _apart(predictor, compiled, treated.features[good], table.filter(pa.array(good)))
            )
            if not rows:
                difference = max(difference, _apart_when_changed(predictor, compiled, spec, table))
            rows += int(good.sum())
    except NotCompiledError as error:
        return CompiledForm(None, None, rows, str(error))
    except _DisagreesError as error:
        return CompiledForm(None, error.difference, rows, str(error))
    except Exception as error:  # noqa: BLE001 - a fitted pipeline may hold anything; without the form it scores as ever
        return CompiledForm(None, None, rows, f"The pipeline does not compile: {in_brief(error)}")
    if not rows:
        return CompiledForm(None, None, 0, "There are no rows to compare it with scikit-learn on.")
    return CompiledForm(plan, difference, rows)


def _apart(predictor: Predictor, compiled: CompiledPredictor, features: pd.DataFrame, table: pa.Table) -> float:
    """The largest difference on some rows; 0 where both refuse them. Raises _DisagreesError."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of values that are no key
        wanted = _score(lambda: predictor.score(features))
        found = _score(lambda: compiled.score(table))
    if wanted is None or found is None:
        if (wanted is None) != (found is None):
            one, other = ("it", "scikit-learn") if found is None else ("scikit-learn", "it")
            raise _DisagreesError(f"{one} refuses rows that {other} scores.")
        return 0.0
    finite = np.abs(wanted[np.isfinite(wanted)])
    scale = max(1.0, float(finite.max(initial=0.0))) if predictor.task == "regression" else 1.0
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    with np.errstate(all="ignore"):
        apart = np.where(same, 0.0, np.abs(found - wanted) / scale)
    wrong = ~(apart <= AGREEMENT)
    if wrong.any():
        largest = float(np.where(np.isfinite(apart), apart, np.inf).max())
        raise _DisagreesError(
            f"it differs from scikit-learn by up to {largest:.1g} on {wrong.mean():.1%} of the rows; at most "
            f"{AGREEMENT:g} is allowed.",
            largest,
        )
    return float(apart.max(initial=0.0))


def _score(score: Callable[[], Doubles]) -> Doubles | None:
    try:
        return score()
    except Misconfigured:
        return None


def _apart_when_changed(predictor: Predictor, compiled: CompiledPredictor, spec: ModelSpec, table: pa.Table) -> float:
    rows = table.take(np.unique(np.linspace(0, len(table) - 1, min(len(table), CHANGED_ROWS)).astype(int)))
    return max(
        (
            _apart(predictor, compiled, treat(changed, spec, "the holdout").features, changed)
            for changed in _changed(rows, spec)
        ),
        default=0.0,
    )


def _changed(rows: pa.Table, spec: ModelSpec) -> Iterator[pa.Table]:
    """The rows again and again, each time with one feature replaced: by nulls, and by what it never was."""
    for name, feature in spec.features.items():
        values: list[pa.Array] = [pa.nulls(len(rows))]
        if feature.kind is FeatureKind.category:
            values += [pa.array([text] * len(rows)) for text in (UNSEEN, "")]
        elif feature.kind is FeatureKind.number:
            values += [pa.array(np.full(len(rows), number)) for number in STRANGE]
        at = rows.column_names.index(name)
        for column in values:
            yield rows.set_column(at, name, pa.chunked_array([column]))
