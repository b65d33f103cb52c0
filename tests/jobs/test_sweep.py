"""Orphans go with the next run; what a publication names stays, also while its rejected rows have yet to follow."""

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs import publish as publish_module
from jobs import score as score_module
from jobs.context import JobContext
from jobs.errors import Rejected, Superseded, Unavailable
from jobs.follow import follow
from jobs.fragments import FragmentResult, file_name
from jobs.input_gate import input_gate
from jobs.plan import plan
from jobs.publish import publish
from jobs.score import score
from jobs.sweep import named_files, sweep
from jobs.table import predictions_path, published, rejected_path
from jobs.vacuum import vacuum
from model_registry.steps import listen

DAY = "2026-01-16"


class PowerCut(BaseException):
    """The end, just there."""


def cut_at(step: str) -> Any:
    def happen(name: str) -> None:
        if name == step:
            listen(None)
            raise PowerCut

    return happen


@pytest.fixture
def spoilt(open_shop: Any) -> Any:
    """A partition with three rows that will be rejected."""
    deliver(open_shop, 3)
    yield open_shop
    listen(None)


def deliver(shop: Any, bad: int) -> None:
    frame = pd.read_parquet(shop.sales(DAY))
    frame["price"] = frame["price"].abs()
    frame.loc[: bad - 1, "price"] = -1.0 - frame.loc[: bad - 1, "price"]
    shop.write_sales(DAY, frame)


def cut_off(shop: Any, step: str = "publish:committed", run: str = "cut off") -> JobContext:
    """A run whose publication ends at a step."""
    job: JobContext = shop.prepare(DAY, run)
    listen(cut_at(step))
    with pytest.raises(PowerCut):
        publish(job)
    return job


def rejected_rows(shop: Any, job: JobContext) -> int:
    files = published(predictions_path(shop.settings, job.spec))[DAY].rejected_files or ()
    return sum(
        pq.read_table(rejected_path(shop.settings, job.spec) / f.path, partitioning=None).num_rows for f in files
    )


def orphan(shop: Any, job: JobContext, fence: int, table: Any = predictions_path) -> Path:
    path: Path = table(shop.settings, job.spec) / file_name(DAY, fence, "orphan", 0)
    path.write_bytes(b"rows")
    return path


def test_vacuum_keeps_the_rejected_rows_of_a_publication_that_was_cut_off(spoilt: Any) -> None:
    job = cut_off(spoilt)
    assert vacuum(spoilt.settings, job.spec).files == 0
    assert rejected_rows(spoilt, job) == 3
    follow(job)
    assert len(DeltaTable(rejected_path(spoilt.settings, job.spec)).to_pandas()) == 3


@pytest.mark.parametrize("step", ["publish:committed", "publish:rejected"])
def test_the_next_run_of_a_publication_that_was_cut_off_sweeps(spoilt: Any, step: str) -> None:
    job = cut_off(spoilt, step)
    mine, beside = orphan(spoilt, job, 0), orphan(spoilt, job, 0, rejected_path)
    at_work = orphan(spoilt, job, 1)
    assert publish(job).publication.run.startswith(f"{job.run} ")
    assert [path.exists() for path in (mine, beside, at_work)] == [False, False, True]
    assert rejected_rows(spoilt, job) == 3


def test_a_sweep_spares_every_publication_and_the_records_of_an_attempt_at_work(spoilt: Any) -> None:
    first = spoilt.prepare(DAY, "first")
    publish(first)
    deliver(spoilt, 4)
    second = spoilt.prepare(DAY, "second")
    old, older = orphan(spoilt, first, 1), orphan(spoilt, first, 0)
    records = predictions_path(spoilt.settings, first.spec) / "_fragments" / f"partition={DAY}"
    [mine] = records.glob("*")
    sweep(first)
    assert [old.exists(), older.exists(), mine.exists()] == [True, False, True]
    publish(second)
    assert [old.exists(), mine.exists()] == [False, False]
    folders = (predictions_path, rejected_path)
    there = {p for f in folders for p in f(spoilt.settings, first.spec).glob("partition=*/*")}
    assert there == named_files(spoilt.settings, first.spec)
    for version, rows in ((1, 117), (2, 116)):
        assert len(DeltaTable(predictions_path(spoilt.settings, first.spec), version).to_pandas()) == rows


@pytest.mark.parametrize("another_day", [True, False])
def test_a_sweep_of_a_partition_that_was_never_published_spares_the_attempts_at_work(
    spoilt: Any, another_day: bool
) -> None:
    if another_day:
        publish(spoilt.prepare("2026-01-17"))
    job = spoilt.prepare(DAY)
    folder = predictions_path(spoilt.settings, job.spec)
    before = {path for path in folder.rglob("*") if DAY in str(path)}
    sweep(job)
    assert {path for path in folder.rglob("*") if DAY in str(path)} == before
    assert publish(job).publication.rows_scored == 117


def test_a_sweep_removes_only_files_of_ours(spoilt: Any) -> None:
    job = spoilt.prepare(DAY)
    folder = predictions_path(spoilt.settings, job.spec) / f"partition={DAY}"
    others = [folder / name for name in ("part-0.parquet", "000000.parquet", "000000-a.txt")]
    for path in others:
        path.write_bytes(b"of somebody else")
    mine = orphan(spoilt, job, 0)
    publish(job)
    assert [path.exists() for path in (*others, mine)] == [True, True, True, False]


def test_of_two_sweeps_at_once_neither_minds_that_the_other_was_first(
    spoilt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = cut_off(spoilt)
    follow(job)
    mine = orphan(spoilt, job, 0)

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.undo()
        sweep(job)
        assert not mine.exists()
        return named_files(*arguments)

    monkeypatch.setattr("jobs.sweep.named_files", meanwhile)
    sweep(job)
    assert rejected_rows(spoilt, job) == 3


def test_a_publication_from_before_rejected_rows_followed_keeps_what_both_tables_name(spoilt: Any) -> None:
    job = spoilt.prepare(DAY)
    publish(job)
    log = predictions_path(spoilt.settings, job.spec) / "_delta_log" / f"{1:020d}.json"
    about, *actions = [json.loads(line) for line in log.read_text().splitlines()]
    of_old = json.loads(about["commitInfo"]["lamplighter"])
    del of_old["rejected_files"]
    about["commitInfo"]["lamplighter"] = json.dumps(of_old)
    log.write_text("".join(json.dumps(line) + "\n" for line in (about, *actions)))
    mine = orphan(spoilt, job, 0)
    sweep(job)
    assert not mine.exists()
    for table, rows in ((predictions_path, 117), (rejected_path, 3)):
        assert len(DeltaTable(table(spoilt.settings, job.spec)).to_pandas()) == rows


def test_rejected_rows_follow_with_the_number_of_their_own_publication(
    spoilt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody publishes while another one finishes what was cut off before."""
    from jobs import follow as module

    job = cut_off(spoilt)
    deliver(spoilt, 5)
    late = spoilt.prepare(DAY, "late")  # its plan has let them follow
    shutil.rmtree(rejected_path(spoilt.settings, job.spec) / "_delta_log")
    read = module.publication_of

    def meanwhile(path: Path, partition: str) -> Any:
        found = read(path, partition)
        monkeypatch.undo()
        publish(late)
        return found

    monkeypatch.setattr(module, "publication_of", meanwhile)
    follow(job)
    table = DeltaTable(rejected_path(spoilt.settings, job.spec))
    assert (len(table.to_pandas()), table.transaction_version(f"score:{DAY}")) == (5, 2)


def test_a_fragment_that_is_scored_twice_in_one_attempt_has_two_files(spoilt: Any) -> None:
    assert file_name(DAY, 1, "attempt", 2) != file_name(DAY, 1, "attempt", 2)
    assert file_name(DAY, 1, "attempt", 2).startswith(f"partition={DAY}/000001-attempt-00002-")


def test_an_attempt_whose_files_go_while_it_commits_says_who_won(spoilt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = spoilt.prepare(DAY, "slow"), spoilt.prepare(DAY, "fast")
    key_schema = publish_module._key_schema

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.undo()
        publish(fast)
        for path in named_files(spoilt.settings, slow.spec):
            path.unlink()  # both had the same files: as if each had its own
        return key_schema(*arguments)

    monkeypatch.setattr(publish_module, "_key_schema", meanwhile)
    with pytest.raises(Superseded, match="was published by version 1 in run 'fast"):
        publish(slow)


def test_a_file_that_is_gone_and_nobody_has_published_is_an_error_of_its_own(spoilt: Any) -> None:
    job = spoilt.prepare(DAY)
    for path in predictions_path(spoilt.settings, job.spec).glob("partition=*/*"):
        path.unlink()
    with pytest.raises(Rejected, match="are gone from the table's folder"):
        publish(job)


@pytest.mark.parametrize("published_meanwhile", [True, False])
def test_an_attempt_whose_files_go_while_it_scores_says_who_won(
    spoilt: Any, monkeypatch: pytest.MonkeyPatch, published_meanwhile: bool
) -> None:
    fast = spoilt.prepare(DAY, "fast")
    slow = spoilt.job(DAY, "slow")
    plan(slow)
    input_gate(slow)

    def gone(task: Any) -> FragmentResult:
        if published_meanwhile:
            publish(fast)
        raise FileNotFoundError(task.fragment.file)

    monkeypatch.setattr(score_module, "score_fragment", gone)
    with pytest.raises(Superseded if published_meanwhile else Unavailable):
        score(slow)
