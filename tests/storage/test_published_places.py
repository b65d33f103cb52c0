"""From a plan to a publication with data and tables in each kind of store: the same promise on a disk and on S3."""

import signal
import time
from datetime import timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attempts import die_in, published_at_once

from jobs.context import JobContext
from jobs.diff import diff
from jobs.follow import follow
from jobs.input_gate import input_gate
from jobs.lineage_row import find_row
from jobs.output_gate import output_gate
from jobs.performance import performance
from jobs.plan import plan
from jobs.publish import PublishResult, publish
from jobs.readiness import partition_folder, waiting_for
from jobs.score import ScoreResult, score
from jobs.spec_schedule import Ready
from jobs.storage import Place, arrow
from jobs.table import open_table, predictions_path, published, rejected_path
from jobs.vacuum import vacuum

DAY = "2026-01-16"
ROWS = 6_000


def rows(shop: Any) -> pd.DataFrame:
    frame = pd.read_parquet(shop.root / "home" / "data" / "sales" / f"day={DAY}")
    frame = pd.concat([frame] * (ROWS // len(frame)), ignore_index=True)
    frame["toy_id"] = [f"toy-{n}" for n in range(len(frame))]
    frame.loc[::1000, "price"] = -1.0
    return frame


def deliver(shop: Any, frame: pd.DataFrame, day: str = DAY) -> None:
    path, files = arrow(shop.settings.data / "sales" / f"day={day}" / "part-0.parquet")
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, filesystem=files, row_group_size=1000)


def read(where: Place, version: int | None = None) -> pd.DataFrame:
    table = open_table(where, version)
    return pd.DataFrame() if table is None else table.to_pandas()


def begin(shop: Any, run: str = "test") -> JobContext:
    job: JobContext = shop.job(DAY, run)
    plan(job)
    input_gate(job)
    return job


def finish(job: JobContext) -> ScoreResult:
    scored = score(job)
    output_gate(job)
    publish(job)
    return scored


@pytest.fixture
def wide(far_shop: Any) -> Any:
    """A partition of six fragments, with a row that will be rejected in each."""
    deliver(far_shop, rows(far_shop))
    return far_shop


def test_a_partition_is_published_with_its_rejected_rows_and_its_lineage(wide: Any) -> None:
    job = begin(wide)
    scored = finish(job)
    spec, settings = job.spec, wide.settings
    assert (scored.rows_in, scored.rows_scored, scored.rows_rejected) == (ROWS, ROWS - 6, 6)
    assert read(predictions_path(settings, spec))["toy_id"].nunique() == ROWS - 6
    assert set(read(rejected_path(settings, spec))["reason"]) == {"price:below_minimum"}
    publication = published(predictions_path(settings, spec))[DAY]
    assert find_row(settings, spec, publication, ["toy-1"]).score is not None
    assert find_row(settings, spec, publication, ["toy-1000"]).reason == "price:below_minimum"
    assert performance(settings, spec, job.partition, job.partition.end + timedelta(days=9)).rows == 0
    again = wide.job(DAY, "again")
    assert plan(again).published


def test_scores_are_the_same_wherever_they_lie(wide: Any, open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    finish(begin(wide))
    there = read(predictions_path(wide.settings, wide.job(DAY).spec))
    monkeypatch.delenv("LAMPLIGHTER_DATA")
    monkeypatch.delenv("LAMPLIGHTER_TABLES")
    from jobs.settings import Settings

    open_shop.settings = Settings.from_environment()
    deliver(open_shop, rows(open_shop))
    finish(begin(open_shop, "here"))
    here = read(predictions_path(open_shop.settings, open_shop.job(DAY).spec))
    order = {"by": "toy_id", "ignore_index": True}
    pd.testing.assert_frame_equal(there.sort_values(**order), here.sort_values(**order), check_exact=True)


def test_a_restatement_is_compared_row_by_row(wide: Any) -> None:
    finish(begin(wide))
    deliver(wide, rows(wide).iloc[2:])
    finish(begin(wide, "second"))
    found = diff(wide.job(DAY))
    assert (found.rows_added, found.rows_removed, found.rows_same) == (0, 1, ROWS - 7)
    assert found.no_longer_rejected == {"price:below_minimum": 1}


def test_a_partition_that_is_still_being_written_is_waited_for(far_shop: Any) -> None:
    job = far_shop.job(DAY)
    spec, settings, ready = job.spec, far_shop.settings, Ready(marker="_DONE", quiet=timedelta(hours=1))
    folder = partition_folder(settings.data, spec.source.path, spec.source.column, job.partition)
    assert waiting_for(folder, ready) == "its marker _DONE is not there"
    (folder / "_DONE").write_bytes(b"")
    assert "must be quiet for 3600 s" in str(waiting_for(folder, ready))
    assert waiting_for(folder, ready, time.time() + 3700) is None


def test_training_reads_there_too(far_shop: Any) -> None:
    far_shop.retrain("2026-01-19")
    assert plan(far_shop.job("2026-01-20")).version.number == 2


@pytest.mark.parametrize("first", [True, False])
def test_of_attempts_at_the_same_moment_exactly_one_is_published(far_shop: Any, first: bool) -> None:
    if not first:
        finish(begin(far_shop, "earlier"))
        deliver(far_shop, rows(far_shop).head(100))
    jobs = [begin(far_shop, f"run-{n}") for n in range(4)]
    for job in jobs:
        score(job)
        output_gate(job)
    results = published_at_once(jobs)
    [winner] = [r for r in results if isinstance(r, PublishResult)]
    where = predictions_path(far_shop.settings, jobs[0].spec)
    frame = read(where)
    assert (len(frame), frame["toy_id"].nunique()) == (winner.publication.rows_scored,) * 2
    assert published(where) == {DAY: winner.publication}


def test_after_a_kill_the_retry_reuses_what_is_intact(wide: Any) -> None:
    job = begin(wide)
    assert die_in("score", DAY, "score:recorded*4=kill") == -signal.SIGKILL
    assert predictions_path(wide.settings, job.spec).is_dir()
    scored = finish(job)
    assert 3 <= scored.reused <= 5
    assert len(read(predictions_path(wide.settings, job.spec))) == ROWS - 6
    assert not list(predictions_path(wide.settings, job.spec).glob("_fragments/*/*/*.json"))


def test_a_fragment_that_was_spoiled_is_scored_again(wide: Any) -> None:
    job = begin(wide)
    score(job)
    where = min(predictions_path(wide.settings, job.spec).glob("partition=*/*.parquet"), key=str)
    where.write_bytes(where.read_bytes()[:-1] + b"?")
    assert finish(job).reused == 5


@pytest.mark.parametrize("fault", ["publish:begun", "publish:prepared", "publish:committed", "publish:rejected"])
def test_a_publication_that_is_killed_is_complete_or_not_there_and_a_retry_finishes_it(wide: Any, fault: str) -> None:
    job = begin(wide)
    score(job)
    output_gate(job)
    assert die_in("publish", DAY, f"{fault}=kill") == -signal.SIGKILL
    where = predictions_path(wide.settings, job.spec)
    assert len(read(where)) in {0, ROWS - 6}
    publish(job)
    follow(job)
    assert (len(read(where)), len(read(rejected_path(wide.settings, job.spec)))) == (ROWS - 6, 6)
    assert [p.rows_scored for p in published(where).values()] == [ROWS - 6]


def test_vacuum_removes_orphans_and_nothing_that_was_ever_published(wide: Any) -> None:
    first = begin(wide)
    finish(first)
    deliver(wide, rows(wide).head(3000))
    late = begin(wide, "late")
    score(late)
    deliver(wide, rows(wide).head(2000))
    finish(begin(wide, "second"))
    where = predictions_path(wide.settings, first.spec)
    zombie = where / f"partition={DAY}" / "000000-zombie-00000.parquet"
    working = where / f"partition={DAY}" / "000002-working-00000.parquet"
    for path in (zombie, working):
        path.write_bytes(b"rows")
    assert vacuum(wide.settings, first.spec, dry_run=True).files >= 1
    assert zombie.is_file()
    assert vacuum(wide.settings, first.spec).files >= 1
    assert (zombie.is_file(), working.is_file()) == (False, True)
    assert [len(read(where, version)) for version in (1, 2)] == [ROWS - 6, 1998]
    assert vacuum(wide.settings, first.spec, timedelta(seconds=-60)).files == 1
    assert not working.is_file()
