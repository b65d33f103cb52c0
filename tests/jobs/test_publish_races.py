"""Attempts that overlap: whatever their order, one is what readers see, with its own rejected rows beside it."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pandas as pd
import pytest
from attempts import published_at_once
from conftest import by_plan
from deltalake import DeltaTable

import jobs.output_gate as gate
from jobs.context import JobContext
from jobs.errors import Misconfigured, Rejected, Superseded
from jobs.input_gate import input_gate
from jobs.output_gate import output_gate
from jobs.performance import performance
from jobs.plan import plan
from jobs.publish import PublishResult, publish
from jobs.rescore import score_partition
from jobs.score import score
from jobs.table import predictions_path, published, rejected_path
from model_registry.steps import listen

DAY = "2026-01-16"


def spoil(shop: Any, rows: int) -> None:
    """Deliver the day again, with that many rows that will be rejected."""
    frame = pd.read_parquet(shop.sales(DAY))
    frame["price"] = frame["price"].abs()
    frame.loc[: rows - 1, "price"] = -1.0 - frame.loc[: rows - 1, "price"]
    shop.write_sales(DAY, frame)


def rejected(shop: Any) -> int:
    return len(DeltaTable(rejected_path(shop.settings, shop.job(DAY).spec)).to_pandas())


@pytest.mark.parametrize("first", [True, False])
def test_of_attempts_at_the_same_moment_exactly_one_is_published(open_shop: Any, first: bool) -> None:
    if not first:
        publish(open_shop.prepare(DAY, "earlier"))
        spoil(open_shop, 1)
    jobs = [open_shop.prepare(DAY, f"run-{n}") for n in range(4)]
    results = published_at_once(jobs)
    [winner] = [r for r in results if isinstance(r, PublishResult)]
    losers = [str(r) for r in results if r is not winner]
    assert all(f"was published by version 1 in run {winner.publication.run!r} after" in said for said in losers)
    frame = DeltaTable(predictions_path(open_shop.settings, jobs[0].spec)).to_pandas()
    assert (len(frame), len(frame)) == (winner.publication.rows_scored, frame["toy_id"].nunique())
    assert published(predictions_path(open_shop.settings, jobs[0].spec)) == {DAY: winner.publication}


@pytest.mark.parametrize("first", [True, False])
def test_partitions_that_are_published_at_the_same_moment_do_not_disturb_each_other(
    open_shop: Any, first: bool
) -> None:
    days = [f"2026-01-{day}" for day in range(15, 20)]
    if not first:
        publish(open_shop.prepare(days[0], "earlier"))
        open_shop.write_sales(days[0], pd.read_parquet(open_shop.sales(days[0])).iloc[::-1])
    jobs = [open_shop.prepare(day) for day in days]
    all_at_once = Barrier(len(jobs))

    def attempt(job: JobContext) -> PublishResult:
        all_at_once.wait()
        return publish(job)

    with ThreadPoolExecutor(len(jobs)) as pool:
        results = list(pool.map(attempt, jobs))
    found = published(predictions_path(open_shop.settings, jobs[0].spec))
    assert found == {day: result.publication for day, result in zip(days, results, strict=True)}
    frame = DeltaTable(predictions_path(open_shop.settings, jobs[0].spec)).to_pandas()
    assert frame["partition"].value_counts().to_dict() == dict.fromkeys(days, 120)
    for day, publication in found.items():
        frame = DeltaTable(predictions_path(open_shop.settings, jobs[0].spec), publication.table_version).to_pandas()
        assert day in set(frame["partition"])


def test_an_attempt_that_was_overtaken_does_not_replace_the_winners_rejected_rows(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jobs.publish as module

    spoil(open_shop, 2)
    slow = open_shop.prepare(DAY, "slow")
    describe = module._describe

    def meanwhile(*arguments: Any) -> Any:
        """Between the two commits of the slow attempt another one begins, on other input."""
        monkeypatch.undo()
        spoil(open_shop, 5)
        open_shop.prepare(DAY, "late")
        return describe(*arguments)

    monkeypatch.setattr(module, "_describe", meanwhile)
    assert publish(slow).publication.rows_rejected == 2
    with pytest.raises(Superseded, match="was published by version 1 in run 'slow"):
        publish(open_shop.job(DAY, "late"))
    assert rejected(open_shop) == 2


@pytest.mark.parametrize("before", [True, False])
def test_what_follows_late_leaves_the_rejected_rows_of_a_later_publication(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    import jobs.follow as module

    if before:  # else the first to follow makes the table
        publish(open_shop.prepare(DAY, "first"))
    spoil(open_shop, 2)
    slow = open_shop.prepare(DAY, "slow")
    ensure = module.ensure_table

    def meanwhile(*arguments: Any) -> Any:
        """Somebody publishes and follows after the slow attempt has published and before its rejected rows follow."""
        monkeypatch.undo()
        spoil(open_shop, 5)
        publish(open_shop.prepare(DAY, "fast"))
        return ensure(*arguments)

    monkeypatch.setattr(module, "ensure_table", meanwhile)
    assert publish(slow).publication.rows_rejected == 2
    assert rejected(open_shop) == 5
    assert score_partition(open_shop.job(DAY, "again")).unchanged


def test_an_attempt_that_published_and_was_replaced_later_does_not_claim_what_replaced_it(open_shop: Any) -> None:
    first = open_shop.prepare(DAY, "first")
    publish(first)
    spoil(open_shop, 3)
    publish(open_shop.prepare(DAY, "second"))
    retried = publish(first)
    assert retried.unchanged
    assert retried.publication.run.startswith("second ")
    assert rejected(open_shop) == 3


def test_an_attempt_that_is_replaced_at_once_tells_of_what_it_published_itself(open_shop: Any) -> None:
    first = open_shop.prepare(DAY, "first")

    def replace(step: str) -> None:
        if step == "publish:committed":
            listen(None)
            spoil(open_shop, 3)
            publish(open_shop.prepare(DAY, "second"))

    listen(replace)
    try:
        done = publish(first)
    finally:
        listen(None)
    assert (done.unchanged, done.publication.rows_rejected) == (False, 0)
    assert done.publication.run.startswith("first ")
    assert done.sentence() == f"toys {DAY}: 120 rows by version 1 are published as table version 1, 0 rejected."
    assert publish(first).sentence() == f"toys {DAY}: 117 rows by version 1 are published already; nothing was changed."
    assert rejected(open_shop) == 3


def test_two_models_cannot_share_a_table(open_shop: Any) -> None:
    publish(open_shop.prepare(DAY))
    before = published(predictions_path(open_shop.settings, open_shop.job(DAY).spec))
    models = open_shop.settings.models
    (models / "games").mkdir()
    for file in ("model.yaml", "pipeline.py"):
        text = (models / "toys" / file).read_text()
        (models / "games" / file).write_text(text.replace("model: toys", "model: games"))
    job = JobContext.create(open_shop.settings, "games", "2026-01-14")
    from jobs.evaluate import evaluate
    from jobs.judge import judge
    from jobs.moves import promote
    from jobs.train import train

    for step in (train, evaluate, judge, promote):
        step(job)
    with pytest.raises(Misconfigured, match=r"output.table of games is the table of toys too"):
        plan(JobContext.create(open_shop.settings, "games", "2026-01-17"))
    assert published(predictions_path(open_shop.settings, job.spec)) == before


def test_a_partition_that_is_not_published_has_no_performance(open_shop: Any) -> None:
    job = open_shop.job(DAY)
    with pytest.raises(Misconfigured, match="no published predictions"):
        performance(open_shop.settings, job.spec, job.partition, job.partition.end)
    publish(open_shop.prepare("2026-01-17"))
    with pytest.raises(Misconfigured, match="toys 2026-01-16 is not published"):
        performance(open_shop.settings, job.spec, job.partition, job.partition.end)


def test_an_engine_of_the_callers_choice_scores_what_the_spec_would(open_shop: Any) -> None:
    job = open_shop.job(DAY)
    plan(job)
    input_gate(job)
    with pytest.raises(Misconfigured, match="There is no engine 'ray'"):
        score(job, "ray")
    assert score(job, "local").rows_scored == 120
    assert output_gate(job).report.passed


def test_a_run_whose_files_are_swept_while_its_output_gate_reads_says_who_won(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_shop.job(DAY, "slow")
    plan(job)
    input_gate(job)
    score(job)
    read = gate.read_batches

    def overtaken(*arguments: Any) -> Any:
        monkeypatch.undo()
        shutil.rmtree(open_shop.settings.tables / "toys" / "_fragments")  # or the other one would publish these files
        score_partition(open_shop.job(DAY, "fast"))
        return read(*arguments)

    monkeypatch.setattr(gate, "read_batches", overtaken)
    with pytest.raises(Superseded, match="was published by version 1 in run 'fast"):
        output_gate(job)


def test_a_table_that_was_removed_since_the_plan_is_not_published_anew_without_scores(open_shop: Any) -> None:
    publish(open_shop.prepare(DAY))
    again = open_shop.prepare(DAY, "again")  # whose plan says that there is nothing to do
    shutil.rmtree(predictions_path(open_shop.settings, again.spec))
    with pytest.raises(Rejected, match=f"The scores of toys {DAY} were not judged: run plan again."):
        publish(again)


def test_what_was_published_is_kept_for_later_jobs(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    assert publish(job) == by_plan(job).recall("publish", PublishResult)
