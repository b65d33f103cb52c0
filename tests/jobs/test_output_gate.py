"""The output gate: what it looks at, and that each of its checks closes it."""

import shutil
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from conftest import SPEC, by_plan

from jobs.errors import Rejected, Superseded
from jobs.output_gate import OutputGateResult, output_gate
from jobs.publish import publish
from jobs.score import ScoreResult
from jobs.table import predictions_path

DAY = "2026-01-16"
BOUNDED = SPEC.replace("at_most: 1}}", "at_most: 1}, mean_score: {at_least: 0.01, at_most: 0.9}}")


def tampered(result: ScoreResult, **changes: Any) -> ScoreResult:
    """The result with other figures of its first fragment, and of the whole where it has them too."""
    fragment = replace(result.fragments[0], **changes)
    whole = {name: value for name, value in changes.items() if hasattr(result, name)}
    return replace(result, fragments=(fragment, *result.fragments[1:]), **whole)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"not_finite": 2}, "scores are finite FAILED"),
        ({"score_max": 1.5}, "largest score FAILED: expected at most 1, observed 1.5"),
        ({"score_min": -0.5}, "smallest score FAILED: expected at least 0, observed -0.5"),
        ({"score_sum": 240.0}, "mean score FAILED: expected at most 0.9, observed 2"),
        ({"score_sum": -240.0}, "mean score FAILED: expected at least 0.01, observed -2"),
        ({"rows_in": 119}, "every row is scored or rejected FAILED"),
        ({"rows_in": 119, "rows_scored": 119}, "every row came in FAILED: expected 120 rows, as planned, observed 119"),
        ({"reasons": {"price:null": 1}}, "the files hold what was done FAILED"),
        ({"fragment": 5}, "every fragment is done once FAILED"),
    ],
)
def test_the_output_gate_closes_on_bad_scores(open_shop: Any, changes: dict[str, Any], says: str) -> None:
    open_shop.write_model(BOUNDED)
    job = by_plan(open_shop.prepare(DAY))
    job.keep("score", tampered(job.recall("score", ScoreResult), **changes))
    with pytest.raises(Rejected, match=says) as told:
        output_gate(open_shop.job(DAY))
    page = (job.folder / "output-gate.html").read_text()
    assert says.partition(" FAILED")[0] in page
    assert told.value.report is not None
    assert (told.value.report.gate, told.value.report.subject) == ("output gate", f"toys {DAY}")


def test_the_output_gate_reads_the_keys_back_from_the_files(open_shop: Any) -> None:
    open_shop.write_sales(
        DAY, pd.read_parquet(open_shop.sales(DAY)).assign(toy_id=lambda f: "b-" + f["toy_id"]), "p1.parquet"
    )
    job = open_shop.prepare(DAY)
    first, second = (f.predictions for f in by_plan(job).recall("score", ScoreResult).fragments)
    table = predictions_path(open_shop.settings, job.spec)
    shutil.copy(table / first.path, table / second.path)
    with pytest.raises(Rejected, match=r"keys are unique on column toy_id FAILED.*120 keys more than once"):
        output_gate(job)


def test_a_score_on_the_bound_is_within_it(open_shop: Any) -> None:
    job = by_plan(open_shop.prepare(DAY))
    job.keep("score", tampered(job.recall("score", ScoreResult), score_min=0.0, score_max=1.0))
    with pytest.raises(Rejected) as told:
        output_gate(open_shop.job(DAY))
    assert told.value.report is not None
    assert [check.name for check in told.value.report.checks if not check.passed] == ["the files hold what was done"]


def deliver(shop: Any, good: int, bad: int) -> None:
    """A file with good rows, and another one whose rows will all be rejected."""
    rows = pd.read_parquet(shop.sales(DAY))
    shop.write_sales(DAY, rows.head(good))
    shop.write_sales(DAY, rows.tail(bad).assign(price=-1.0), "p1.parquet")


def test_a_file_whose_rows_are_all_rejected_is_no_reason_to_close(open_shop: Any) -> None:
    deliver(open_shop, good=100, bad=5)
    job = open_shop.prepare(DAY)
    judged = by_plan(job).recall("output-gate", OutputGateResult)
    assert [fragment.predictions is None for fragment in judged.scored.fragments] == [True, False]
    assert len(judged.stamps) == 2
    made = publish(job).publication
    assert (made.rows_scored, made.rows_rejected, made.reasons) == (100, 5, {"price:below_minimum": 5})


def test_without_a_scored_row_the_gate_is_closed(open_shop: Any) -> None:
    open_shop.write_model(SPEC.replace("reject_budget: 0.05", "reject_budget: 1"))
    deliver(open_shop, good=0, bad=5)
    with pytest.raises(Rejected) as told:
        open_shop.prepare(DAY)
    assert told.value.report is not None
    closed = [check for check in told.value.report.checks if not check.passed]
    assert [(check.name, check.observed) for check in closed] == [("at least one row is scored", 0)]


def test_scores_that_the_winner_has_swept_are_not_called_broken(open_shop: Any) -> None:
    slow = open_shop.prepare(DAY, "slow")
    open_shop.write_sales(DAY, pd.read_parquet(open_shop.sales(DAY)).head(50))
    publish(open_shop.prepare(DAY, "fast"))
    with pytest.raises(Superseded, match="was published by version 1 in run 'fast"):
        output_gate(slow)
