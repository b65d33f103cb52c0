"""Whoever slept while others went on publishes nothing of its own, and spoils nothing of theirs."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from conftest import SPEC, by_plan

from jobs.context import JobContext
from jobs.errors import Misconfigured, Rejected, Superseded, Unavailable
from jobs.input_gate import input_gate
from jobs.moves import Wish, roll_back
from jobs.output_gate import output_gate
from jobs.plan import Plan, plan
from jobs.publish import publish
from jobs.rescore import score_partition
from jobs.score import ScoreResult, score
from jobs.table import predictions_path, publications
from model_registry.steps import listen

DAY = "2026-01-16"


def meanwhile(at: str, work: Callable[[], object], whose: Callable[[], object]) -> None:
    """Do the work of somebody at the first such step of another one."""
    waits = [at]

    def once(step: str) -> None:
        if step in waits:
            waits.clear()
            work()

    listen(once)
    try:
        whose()
    finally:
        listen(None)
    assert not waits


def deliver(shop: Any, rows: int) -> None:
    shop.write_sales(DAY, pd.read_parquet(shop.sales(DAY)).head(rows))


def after_the_plan(job: JobContext) -> Any:
    input_gate(job)
    score(job)
    output_gate(job)
    return publish(job).publication


def made(shop: Any) -> list[tuple[str, int]]:
    found = publications(predictions_path(shop.settings, shop.job(DAY).spec))
    return [(p.run.split()[0], p.rows_in) for p in found]


def test_a_plan_that_was_overtaken_after_it_chose_its_version_publishes_nothing(open_shop: Any) -> None:
    sleeper = open_shop.job(DAY, "sleeper")
    meanwhile(
        "plan:resolved", lambda: score_partition(open_shop.job(DAY, "other"), selector="1"), lambda: plan(sleeper)
    )
    with pytest.raises(Superseded, match="other"):
        after_the_plan(sleeper)
    assert made(open_shop) == [("other", 120)]


def test_a_plan_that_wakes_up_after_its_retry_takes_nothing_over(open_shop: Any) -> None:
    job = open_shop.job(DAY)

    def retried() -> None:
        deliver(open_shop, 100)
        plan(job)
        input_gate(job)
        score(job)

    with pytest.raises(Unavailable, match="Another plan was made for the run 'test' of toys 2026-01-16 meanwhile"):
        meanwhile("plan:resolved", retried, lambda: plan(job))
    output_gate(job)
    assert publish(job).publication.rows_in == 100


def test_scores_by_an_earlier_plan_are_not_taken_for_those_of_this_one(open_shop: Any) -> None:
    job = open_shop.job(DAY)
    plan(job)
    input_gate(job)
    score(job)
    late, old = by_plan(job), by_plan(job).recall("score", ScoreResult)
    deliver(open_shop, 100)
    plan(job)
    with pytest.raises(Misconfigured, match="has no result of `score` yet"):
        output_gate(job)
    input_gate(job)
    score(job)
    late.keep("score", old)  # who was paused just before
    output_gate(job)
    late.keep("score", old)
    found = publish(job).publication
    assert (found.rows_in, found.input_digest) == (100, job.recall("plan", Plan).input_digest)
    assert made(open_shop) == [("test", 100)]


def test_a_run_goes_by_the_spec_that_it_was_planned_with(open_shop: Any, caplog: pytest.LogCaptureFixture) -> None:
    path = open_shop.settings.models / "toys" / "model.yaml"
    before = path.read_text()
    job = open_shop.job(DAY)
    plan(job)
    path.write_text(before.replace("at_most: 1000", "at_most: 60").replace("reject_budget: 0.05", "reject_budget: 1"))
    found = after_the_plan(open_shop.job(DAY))
    assert (found.rows_scored, found.rows_rejected) == (120, 0)
    assert "The spec of toys is not the one that was planned with" in caplog.text
    again = score_partition(open_shop.job(DAY, "again"))
    assert not again.unchanged
    assert again.publication.rows_rejected > 0


def test_the_spec_of_a_plan_is_read_back_as_it_was(open_shop: Any) -> None:
    path = open_shop.settings.models / "toys" / "model.yaml"
    check = (
        "  - {expectation: expect_column_values_to_be_in_set, severity: warning, "
        "arguments: {column: colour, value_set: [2026-01-01, 2026-01-01 10:00:00, 1, .inf, no, null, a]}}\n"
    )
    path.write_text(
        path.read_text().replace("output_checks:", check + "retries: {attempts: 2, delay: 90s}\noutput_checks:", 1)
    )
    job = open_shop.job(DAY)
    plan(job)
    assert by_plan(job).spec == job.spec


def test_what_was_planned_with_a_version_that_is_rolled_back_is_not_published(open_shop: Any) -> None:
    open_shop.retrain("2026-01-16")
    day = "2026-01-18"
    job = open_shop.prepare(day)
    assert job.recall("plan", Plan).version.number == 2
    roll_back(Wish(open_shop.settings, "toys", "scores are off"))
    with pytest.raises(
        Rejected, match=r"Version 2 of toys was rolled back by ada \(scores are off\) after 2026-01-18 was"
    ):
        publish(job)
    assert publications(predictions_path(open_shop.settings, job.spec)) == []
    assert score_partition(open_shop.job(day, "again")).publication.version == 1
    wanted = open_shop.prepare("2026-01-19", "by name", selector="2")  # somebody insists
    assert publish(wanted).publication.version == 2


def test_a_roll_back_while_a_plan_is_made_is_noticed(open_shop: Any) -> None:
    open_shop.retrain("2026-01-16")
    day = "2026-01-18"
    job = open_shop.job(day)
    meanwhile("plan:resolved", lambda: roll_back(Wish(open_shop.settings, "toys", "scores are off")), lambda: plan(job))
    with pytest.raises(Rejected, match=r"Version 2 of toys was rolled back by ada \(scores are off\) after"):
        after_the_plan(job)
    assert score_partition(open_shop.job(day, "again")).publication.version == 1


@pytest.mark.parametrize("purpose", ["score", "train"])
def test_a_gate_that_asked_for_something_else_opens_nothing(open_shop: Any, purpose: str) -> None:
    day = "2026-01-20"
    input_gate(open_shop.job(day), purpose)
    if purpose == "score":
        open_shop.write_model(SPEC.replace("min_value: 1,", "min_value: 121,"))
    job = open_shop.job(day)
    plan(job)
    with pytest.raises(Rejected, match="was judged by another spec or release than it is planned with, or for a train"):
        score(job)
    if purpose == "score":
        with pytest.raises(Rejected, match="row count to be between FAILED"):
            input_gate(job)
    else:
        assert after_the_plan(job).rows_scored == 120


def test_a_spec_that_is_changed_while_a_plan_is_made_is_noticed(open_shop: Any) -> None:
    job = open_shop.job(DAY)
    changed = SPEC.replace("reject_budget: 0.05", "reject_budget: 0.5")
    says = f"^The spec of toys, its pipeline or Lamplighter itself was changed while {DAY} was planned: run plan again"
    with pytest.raises(Unavailable, match=says):
        meanwhile("plan:resolved", lambda: open_shop.write_model(changed), lambda: plan(job))
    assert not job.file("plan").exists()
    assert plan(open_shop.job(DAY)).spec.reject_budget == 0.5


def test_a_plan_says_who_will_score_what(open_shop: Any) -> None:
    first = plan(open_shop.job(DAY))
    what = "toys 2026-01-16: 120 rows in 1 fragment"
    assert first.sentence() == f"{what} are to be scored by version 1."
    override = replace(first, version=replace(first.version, override="until 2026-02-01"), shadow=first.version)
    assert override.sentence() == (
        f"{what} are to be scored by version 1, in production by an override until 2026-02-01, and in the shadow by "
        f"version 1."
    )
    alone = replace(first, no_shadow="toys has no version in staging.", fragments=first.fragments * 2)
    assert alone.sentence() == (
        "toys 2026-01-16: 120 rows in 2 fragments are to be scored by version 1. No shadow: toys has no version in "
        "staging."
    )
    score_partition(open_shop.job(DAY))
    again = plan(open_shop.job(DAY, "again"))
    assert again.sentence() == f"{what} were published by version 1 from the same input: nothing to do."
