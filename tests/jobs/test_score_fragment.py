"""The rows of a fragment: how many are held at a time, and what is said about their scores."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import by_plan, rows_of

import jobs.score_fragment as module
from jobs.input_gate import input_gate
from jobs.plan import plan
from jobs.score import ScoreResult, score
from jobs.score_statistics import ScoreStatistics
from model_registry.steps import listen

DAY = "2026-01-16"
INFINITY = float("inf")


def steps_of(shop: Any) -> list[str]:
    """The steps of scoring a night of 2,500 rows in one row group, and every row is there."""
    [path] = shop.sales(DAY).iterdir()
    pq.write_table(pa.Table.from_pandas(rows_of(date(2026, 1, 16), 2500)), path, write_page_checksum=True)
    job = shop.job(DAY)
    plan(job)
    input_gate(job)
    said: list[str] = []
    listen(said.append)
    try:
        score(job)
    finally:
        listen(None)
    assert by_plan(job).recall("score", ScoreResult).rows_in == 2500
    return said


def test_who_asks_for_less_gets_smaller_batches_of_a_large_row_group(open_shop: Any) -> None:
    assert "rows_per_fragment: 1000}" in (open_shop.settings.models / "toys" / "model.yaml").read_text()
    assert steps_of(open_shop).count("score:read") == 3


@pytest.mark.parametrize(("batch", "steps"), [(2500, 1), (2499, 3)])
def test_a_fragment_that_fits_is_read_whole_and_a_larger_one_in_halves_of_a_batch(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch, batch: int, steps: int
) -> None:
    spec = open_shop.settings.models / "toys" / "model.yaml"
    spec.write_text(spec.read_text().replace("rows_per_fragment: 1000}", "rows_per_fragment: 100000}"))
    monkeypatch.setattr(module, "BATCH_ROWS", batch)
    assert steps_of(open_shop).count("score:read") == steps


def statistics(*scores: float) -> ScoreStatistics:
    found = ScoreStatistics()
    found.add(np.array(scores, dtype=np.float64))
    return found


def test_statistics_are_of_finite_scores_and_count_the_others() -> None:
    found = statistics(0.5, float("nan"), 0.25, INFINITY, -INFINITY)
    assert (found.not_finite, found.smallest, found.largest, found.sum) == (3, 0.25, 0.5, 0.75)


@pytest.mark.parametrize("scores", [[], [float("nan")], [INFINITY]])
def test_without_a_finite_score_there_is_no_smallest_and_no_largest(scores: list[float]) -> None:
    found = statistics(*scores)
    assert (found.not_finite, found.smallest, found.largest, found.sum) == (len(scores), None, None, 0)


def test_statistics_of_parts_merge_into_those_of_the_whole() -> None:
    merged = statistics(0.5, INFINITY)
    for part in (statistics(), statistics(0.125), statistics(0.75, float("nan"))):
        merged.merge(part)
    assert merged == statistics(0.5, INFINITY, 0.125, 0.75, float("nan"))
