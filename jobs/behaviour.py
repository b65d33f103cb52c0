"""Behaviour probes: how a candidate scores rows that its holdout does not have.

Standing probes change each feature to what a bad night may bring. Directions and invariances come from the spec; they
are the directional and invariance tests of Ribeiro et al., "Beyond Accuracy: Behavioral Testing of NLP Models with
CheckList" (ACL 2020), on tables.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.errors import Misconfigured
from jobs.probes import Kind, Probed, Variant, Vector, standing_kinds
from model_registry.evidence import Check
from model_registry.rules import Mode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pandas as pd

    from jobs.predictor import Predictor
    from jobs.spec import Bounds, Feature
    from jobs.spec_behaviour import Behaviour, Direction, Invariance

EXAMPLES = 8
SWAPS = 5
ROUNDING = 1e-9
OFF = "not probed (off)"
Values = np.ndarray[Any, Any]


def probe(
    predictor: Predictor,
    rows: pd.DataFrame,
    features: Mapping[str, Feature],
    bounds: Bounds,
    behaviour: Behaviour,
    seed: int,
) -> tuple[Check, ...]:
    """The checks about a version: one for each kind of standing probe, each direction and each invariance.

    `rows` are treated rows of the holdout that are not rejected, shape (rows, features); the same rows and seed give
    the same checks. Whatever the pipeline raises is a failed check. Raises Misconfigured when there are no rows.
    """
    if not len(rows):
        raise Misconfigured("There are no rows to probe the behaviour on: lengthen training.holdout.")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[: behaviour.rows])
    probed = Probed(predictor, rows.iloc[chosen].reset_index(drop=True), features, bounds)
    standing = [_standing(probed, kind, behaviour.mode) for kind in standing_kinds(probed, rows, behaviour.extreme)]
    directions = [_direction(probed, direction) for direction in behaviour.directions]
    invariances = [_invariance(probed, invariance, rows, seed) for invariance in behaviour.invariances]
    return (*standing, *directions, *invariances)


def _standing(probed: Probed, kind: Kind, mode: Mode) -> Check:
    name = f"scores with {kind.name}"
    if mode is Mode.off:
        return Check(name, passed=True, observed=OFF, expected=probed.allowed, severity=mode.severity)
    if not kind.variants:
        observed = "no feature that it could happen to"
        return Check(name, passed=True, observed=observed, expected=probed.allowed, severity=mode.severity)
    answers = _answers(probed, kind.variants)
    faults = [(v, fault) for v, a in zip(kind.variants, answers, strict=True) if (fault := _fault(probed, a))]
    features = dict.fromkeys(v.feature for v in kind.variants)
    bad = dict.fromkeys(v.feature for v, _ in faults)
    return Check(
        name,
        passed=not faults,
        observed=f"{len(bad)} of {len(features)} features fail: {kind.remedy}" if bad else f"all {len(features)} hold",
        expected=probed.allowed,
        severity=mode.severity,
        column=", ".join(bad) or None,
        rows=sum(count for _, (count, _) in faults),
        examples=tuple(f"{v.feature} {v.what}: {text}" for v, (_, text) in _spread(faults))[:EXAMPLES],
    )


def _spread(faults: list[tuple[Variant, tuple[int, str]]]) -> list[tuple[Variant, tuple[int, str]]]:
    """The faults with the first one of each feature in front, so that many features can be named."""
    turns: Counter[str] = Counter()
    ranked = []
    for variant, fault in faults:
        ranked.append((turns[variant.feature], (variant, fault)))
        turns[variant.feature] += 1
    return [fault for _, fault in sorted(ranked, key=lambda pair: pair[0])]


def _answers(probed: Probed, variants: tuple[Variant, ...]) -> list[Vector | str]:
    """The scores of every variant: all at once, or where that raises one by one, to learn which it was."""
    import pandas as pd

    together = probed.scores(pd.concat([v.rows for v in variants], ignore_index=True))
    if isinstance(together, str):
        return [probed.scores(v.rows) for v in variants]
    return list(np.split(together, len(variants)))


def _fault(probed: Probed, answer: Vector | str) -> tuple[int, str] | None:
    """How many rows are bad, and why, or None."""
    if isinstance(answer, str):
        return len(probed.rows), answer
    bad = answer[~probed.good(answer)]
    return (len(bad), f"score {bad[0]:g}") if len(bad) else None


def _direction(probed: Probed, direction: Direction) -> Check:
    wanted = {"any": "", "up": ", not lower", "down": ", not higher"}[direction.score]
    sign = {"any": 0.0, "up": -1.0, "down": 1.0}[direction.score]
    before = probed.rows[direction.feature].to_numpy(dtype=np.float64)
    with np.errstate(over="ignore"):
        after = before * direction.times if direction.times is not None else before + (direction.add or 0.0)
    reaches = probed.reaches(direction.feature, after)
    rows = probed.rows[reaches]
    changed = [probed.changed(rows, direction.feature, after[reaches].tolist())]
    name, expected = f"score when {direction.change}", f"{probed.allowed}{wanted}"
    return _compared(probed, direction, name, expected, rows, changed, lambda move: sign * move - direction.tolerance)


def _invariance(probed: Probed, invariance: Invariance, seen: pd.DataFrame, seed: int) -> Check:
    name = f"score when {invariance.feature} is swapped"
    expected = f"{probed.allowed}, changed by at most {invariance.at_most:g}"
    values = np.unique(seen[invariance.feature].dropna().to_numpy())
    rows = probed.rows[probed.rows[invariance.feature].notna() & (len(values) > 1)]
    changed = [
        probed.changed(rows, invariance.feature, swapped.tolist())
        for swapped in _swaps(rows[invariance.feature].to_numpy(), values, seed)
    ]
    return _compared(probed, invariance, name, expected, rows, changed, lambda move: abs(move) - invariance.at_most)


def _swaps(own: Values, values: Values, seed: int) -> list[Values]:
    """For every row, other values than its own: all of them where they are few, else some at random."""
    others = len(values) - 1
    if others < 1 or not len(own):
        return []
    steps = np.arange(1, others + 1)
    at = np.searchsorted(values, own)
    random = np.random.default_rng(seed)
    drawn = [random.permutation(steps)[:SWAPS] for _ in own]
    return [values[(at + step) % len(values)] for step in np.array(drawn).T]


def _compared(
    probed: Probed,
    asked: Direction | Invariance,
    name: str,
    expected: str,
    rows: pd.DataFrame,
    changed: list[pd.DataFrame],
    excess: Callable[[Vector], Vector],
) -> Check:
    """The check that asks, row by row, that every changed score is good and `excess` of its move is not above 0."""
    expected = f"{expected}, for at least {100 * asked.share:.4g} % of the rows"

    def check(observed: str, bad: int | None = None, *, passed: bool = False) -> Check:
        severity = asked.mode.severity
        return Check(name, passed, observed, expected, severity, column=asked.feature, rows=bad)

    if asked.mode is Mode.off:
        return check(OFF, passed=True)
    if not len(rows) or not changed:
        return check("no row of the holdout that could be changed: choose another change, or mode: off")
    answers = [probed.scores(frame) for frame in (rows, *changed)]
    for answer in answers:
        if isinstance(answer, str):
            return check(answer, len(rows))
    base, *scores = (answer for answer in answers if not isinstance(answer, str))
    with np.errstate(invalid="ignore"):
        over = np.max([excess(score - base) for score in scores], axis=0)
        holds = np.all([probed.good(score) for score in scores], axis=0) & (over <= ROUNDING * (1 + np.abs(base)))
    held = int(holds.sum())
    moves = np.concatenate([score - base for score in scores])
    found = f"{held / len(rows):.2%} of {len(rows)} rows; moved from {moves.min():.4g} to {moves.max():.4g}"
    return check(found, len(rows) - held, passed=held >= asked.share * len(rows) - ROUNDING)
