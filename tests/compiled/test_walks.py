"""Trees of any size beside a plain descent, node by node: strange numbers, limits, sets of categories, codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest

from jobs.compiled.columns import Batch
from jobs.compiled.form import Columns, Trees
from jobs.compiled.walks import ROWS, Walks

STRANGE = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 5e-324, -5e-324, 1e300, -1e300, 0.1, np.float32(0.1), -1.0])
KEYS = 4


@dataclass
class Rows:
    """What trees ask of a batch: 0 and 1 are numbers, 2 categories by number, the others tables of codes."""

    numbers: list[np.ndarray[Any, Any]]
    code: np.ndarray[Any, Any]
    columns: Columns

    @property
    def rows(self) -> int:
        return len(self.code)

    def values(self, column: int) -> np.ndarray[Any, Any]:
        return self.numbers[column] if column < 3 else self.columns.table(column)[self.code]

    def codes(self, lookup: int) -> np.ndarray[Any, Any]:
        assert lookup == 0
        return self.code


def columns_of() -> Columns:
    """Three numbers, a column with a value for one code, one with the same for all, and one with two of its own."""

    class Lookup:
        null = KEYS

    return Columns(
        lookups=cast("Any", (Lookup(),)),
        numbers=(),
        lookup=np.array([-1, -1, -1, 0, 0, 0, 0], np.int32),
        number=np.array([0, 1, 2, -1, -1, -1, -1], np.int32),
        default=np.array([0, 0, 0, 0.0, 0.5, 0.0, np.nan]),
        first=np.array([0, 0, 0, 0, 1, 1, 3, 4], np.int32),
        codes=np.array([2, 0, KEYS, KEYS + 1], np.int32),
        values=np.array([1.0, 1.0, np.nan, 0.25]),
    )


def random_trees(rng: np.random.Generator, *, single: bool) -> Trees:
    """Some trees whose nodes ask for any column, one of them a single leaf; children come after their parents."""
    feature, threshold, left, right, first = [], [], [], [], [0]
    for size in (0, 1, 7, 300):
        begin, open_places = len(feature), [len(feature)]
        for node in range(2 * size + 1):
            inner = node < size
            feature.append(int(rng.integers(7)) if inner else -1)
            threshold.append(float(rng.choice(np.append(STRANGE[1:], rng.normal(size=9)))))
            place = open_places.pop(0)
            assert place == begin + node
            left.append(begin + node + len(open_places) + 1 if inner else -1)
            right.append(begin + node + len(open_places) + 2 if inner else -1)
            open_places += [left[-1], right[-1]] if inner else []
        first.append(len(feature))
    asked = np.array(feature, np.int32)
    return Trees(
        columns=np.arange(7, dtype=np.int32),
        single=single,
        first=np.array(first, np.int32),
        output=np.array([0, 1, 0, 1], np.int32),
        feature=asked,
        threshold=np.array(threshold),
        left=np.array(left, np.int32),
        right=np.array(right, np.int32),
        null_left=rng.random(len(asked)) < 0.5,
        split=np.where(asked == 2, rng.integers(0, 5, len(asked)), -1).astype(np.int32),
        sets=rng.random((5, 256)) < 0.5,
        value=rng.normal(size=len(asked)),
        base=np.zeros(2),
        divisor=1.0,
        finish="plain",
    )


def descend(trees: Trees, tree: int, values: list[float]) -> float:
    node = int(trees.first[tree])
    while (column := trees.feature[node]) >= 0:
        value = values[column]
        if trees.single:
            value = float(np.float32(value))
        if np.isnan(value) or (trees.split[node] >= 0 and value < 0):
            goes_left = trees.null_left[node]
        elif trees.split[node] >= 0:
            goes_left = trees.sets[trees.split[node], int(value)]
        else:
            goes_left = value <= trees.threshold[node]
        node = int(trees.left[node] if goes_left else trees.right[node])
    return float(trees.value[node])


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("rows", [1, 8, 500])
@pytest.mark.parametrize("seed", range(5))
def test_each_row_ends_in_the_leaf_that_a_plain_descent_finds(seed: int, rows: int, single: bool) -> None:
    rng = np.random.default_rng([seed, rows, single])
    columns, trees = columns_of(), random_trees(rng, single=single)
    near = np.nextafter(trees.threshold, rng.choice([-np.inf, np.inf], len(trees.threshold)))
    numbers = [rng.choice(np.concatenate([STRANGE, trees.threshold, near]), rows) for _ in range(2)]
    numbers.append(rng.choice([-1.0, np.nan, *range(256)], rows))
    batch = Rows(numbers, rng.integers(0, KEYS + 2, rows).astype(np.int32), columns)
    total = np.zeros((2, rows))
    Walks(trees, columns).add(cast("Batch", batch), total)
    wanted = np.zeros((2, rows))
    with np.errstate(over="ignore"):
        for row in range(rows):
            values = [float(batch.values(column)[row]) for column in range(7)]
            for tree, output in enumerate(trees.output):
                wanted[output, row] += descend(trees, tree, values)
    np.testing.assert_array_equal(total, wanted)


def test_rows_are_laid_out_a_part_at_a_time() -> None:
    rng = np.random.default_rng(0)
    columns, trees = columns_of(), random_trees(rng, single=False)
    rows = 2 * ROWS + 3
    numbers = [rng.normal(size=rows), rng.normal(size=rows), np.zeros(rows)]
    batch = Rows(numbers, rng.integers(0, KEYS + 2, rows).astype(np.int32), columns)
    walks, whole = Walks(trees, columns), np.zeros((2, rows))
    walks.add(cast("Batch", batch), whole)
    for part in (slice(0, 100), slice(ROWS - 5, ROWS + 5), slice(rows - 11, rows)):
        some = np.zeros((2, part.stop - part.start))
        walks.add(cast("Batch", Rows([n[part] for n in numbers], batch.code[part], columns)), some)
        np.testing.assert_array_equal(some, whole[:, part])
