"""What the behaviour probes change: rows of the holdout with values that a bad night may bring, and their scores."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from jobs.errors import Misconfigured, in_brief
from jobs.spec import FeatureKind
from jobs.treat import feature_values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pandas as pd

    from jobs.predictor import Predictor
    from jobs.spec import Bounds, Feature

LONGEST = 160
LONG_TEXT = 1_000
TINY = 1e-30
Vector = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
ARROW = {FeatureKind.number: pa.float64(), FeatureKind.category: pa.string(), FeatureKind.flag: pa.bool_()}


@dataclass(frozen=True)
class Variant:
    """Rows in which one feature (or, by `what`, several) was changed."""

    feature: str
    what: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Kind:
    """A kind of standing probe: what it asks, what to do when it fails, and the changed rows."""

    name: str
    remedy: str
    variants: tuple[Variant, ...]


@dataclass(frozen=True)
class Probed:
    """A version, the treated rows that are changed, the rules of its features, and the bounds of its scores."""

    predictor: Predictor
    rows: pd.DataFrame
    features: Mapping[str, Feature]
    bounds: Bounds

    def scores(self, rows: pd.DataFrame) -> Vector | str:
        """The scores, shape (rows,), or the reason why there are none."""
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")  # they are about the very values that are probed
                found = self.predictor.score(rows)
        except Misconfigured as error:
            return str(error)[:LONGEST]
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a pipeline raises is the answer
            return f"The pipeline cannot score these rows: {in_brief(error)}"[:LONGEST]
        return found if found.shape == (len(rows),) else f"The pipeline gives shape {found.shape} for {len(rows)} rows"

    def good(self, scores: Vector) -> Mask:
        """Which scores are finite and within their bounds."""
        low = -np.inf if self.bounds.at_least is None else self.bounds.at_least
        high = np.inf if self.bounds.at_most is None else self.bounds.at_most
        good: Mask = np.isfinite(scores) & (scores >= low) & (scores <= high)
        return good

    @property
    def allowed(self) -> str:
        """What a score must be, in words."""
        ends = (("at least", self.bounds.at_least), ("at most", self.bounds.at_most))
        return ", ".join(["finite scores", *(f"{word} {end:g}" for word, end in ends if end is not None)])

    def changed(self, rows: pd.DataFrame, feature: str, values: Sequence[object]) -> pd.DataFrame:
        """The rows with other values of a feature, which are treated as those of a partition are."""
        kind = self.features[feature].kind
        plain = [v if v is None or kind is not FeatureKind.flag else bool(v) for v in values]
        column = pa.chunked_array([pa.array(plain, ARROW[kind])])
        return rows.assign(**{feature: feature_values(column, feature, kind, "the probe")})

    def reaches(self, feature: str, values: Vector) -> Mask:
        """Which values of a number neither are null nor reject their row."""
        rules = self.features[feature]
        low = -np.inf if rules.at_least is None else rules.at_least
        high = np.inf if rules.at_most is None else rules.at_most
        reaches: Mask = np.isfinite(values) & (values >= low) & (values <= high)
        return reaches


def standing_kinds(probed: Probed, seen: pd.DataFrame, extreme: float) -> tuple[Kind, ...]:
    """Every kind of standing probe; `seen` has the values that are not unseen, `extreme` stands for an open end."""
    optional = [name for name, feature in probed.features.items() if not feature.required]
    texts = [name for name, feature in probed.features.items() if feature.kind is FeatureKind.category]
    encode = "let the encoder ignore what it has not seen, with handle_unknown"
    nulls = _with(probed, optional, lambda _: {"null": None})
    unseen = _with(probed, texts, lambda name: {"unseen": _unseen(seen[name])})
    extremes = _with(probed, list(probed.features), lambda name: _extremes(probed.features[name], extreme))
    bounded = "give it at_least and at_most in the spec, or clip it in the pipeline"
    return (
        Kind("a null", "impute it in the pipeline, or mark it required", nulls),
        Kind("an unseen category", encode, unseen),
        Kind("an empty text", encode, _with(probed, texts, lambda _: {"empty": ""})),
        Kind("an extreme value", bounded, extremes),
        Kind(
            "nothing but what is required",
            "impute them in the pipeline, or mark some required",
            _bare(probed, optional),
        ),
    )


def _with(probed: Probed, names: list[str], values: Callable[[str], dict[str, object]]) -> tuple[Variant, ...]:
    rows = probed.rows
    return tuple(
        Variant(name, what, probed.changed(rows, name, [value] * len(rows)))
        for name in names
        for what, value in values(name).items()
    )


def _unseen(column: pd.Series) -> str:
    text = "never seen before \u2603"
    taken = set(column.dropna())
    while text in taken:
        text += "\u2603"
    return text


def _extremes(feature: Feature, extreme: float) -> dict[str, object]:
    """The ends of the feature's own rules; where they are open, and in between, what stands for an end."""
    if feature.kind is FeatureKind.flag:
        return {"false": False, "true": True}
    if feature.kind is FeatureKind.category:
        return {f"a text of {LONG_TEXT} letters": "x" * LONG_TEXT}
    low = -extreme if feature.at_least is None else feature.at_least
    high = extreme if feature.at_most is None else feature.at_most
    return {f"{value:g}": value for value in (low, -TINY, 0.0, TINY, high) if low <= value <= high}


def _bare(probed: Probed, optional: list[str]) -> tuple[Variant, ...]:
    if not optional:
        return ()
    rows = probed.rows
    for name in optional:
        rows = probed.changed(rows, name, [None] * len(rows))
    return (Variant(", ".join(optional), "null", rows),)
