"""What is left of a half-scored partition: reused if intact, swept when it is over, never what readers need."""

import json
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from commands import in_shop
from deltalake import DeltaTable

from jobs.context import JobContext
from jobs.errors import Superseded
from jobs.faults import VARIABLE
from jobs.follow import follow
from jobs.input_gate import input_gate
from jobs.output_gate import output_gate
from jobs.plan import Plan, plan
from jobs.publish import publish
from jobs.score import ScoreResult, score
from jobs.table import predictions_path, published, rejected_path
from jobs.vacuum import vacuum

DAY = "2026-01-16"
ROWS = 20_000


@pytest.fixture
def wide(open_shop: Any) -> Any:
    """A partition of twenty fragments, with one row that will be rejected in each."""
    frame = pd.read_parquet(open_shop.sales(DAY))
    frame = pd.concat([frame] * (ROWS // len(frame) + 1), ignore_index=True).head(ROWS)
    frame["toy_id"] = [f"toy-{n}" for n in range(ROWS)]
    frame.loc[::1000, "price"] = -1.0
    open_shop.write_sales(DAY, frame)
    return open_shop


def files_of(shop: Any) -> set[Path]:
    spec = shop.job(DAY).spec
    return {p for t in (predictions_path, rejected_path) for p in t(shop.settings, spec).glob("partition=*/*.parquet")}


def die_in(shop: Any, command: str, fault: str) -> int:
    """Run a job in a process of its own that meets a fault; its exit code."""
    return in_shop(
        shop, command, "--model", "toys", "--partition", DAY, "--run", "test", **{VARIABLE: fault}
    ).returncode


def begin(shop: Any) -> JobContext:
    job: JobContext = shop.job(DAY)
    plan(job)
    input_gate(job)
    return job


def finish(job: JobContext) -> ScoreResult:
    scored = score(job)
    output_gate(job)
    publish(job)
    return scored


def test_after_a_kill_at_nine_tenths_the_retry_does_one_tenth(wide: Any) -> None:
    job = begin(wide)
    assert len(job.recall("plan", Plan).fragments) == 20
    assert die_in(wide, "score", "score:recorded*18=kill") == -signal.SIGKILL
    scored = finish(job)
    assert 17 <= scored.reused <= 19
    assert (scored.rows_in, scored.rows_scored, scored.rows_rejected) == (ROWS, ROWS - 20, 20)
    frame = DeltaTable(predictions_path(wide.settings, job.spec)).to_pandas()
    assert (len(frame), frame["toy_id"].nunique()) == (ROWS - 20, ROWS - 20)


@pytest.mark.parametrize("spoil", ["bytes", "gone", "record"])
def test_a_fragment_that_is_not_what_was_written_is_scored_again(wide: Any, spoil: str) -> None:
    job = begin(wide)
    score(job)
    folder = predictions_path(wide.settings, job.spec)
    file = min(folder.glob("partition=*/*.parquet"))
    record = min(folder.glob("_fragments/*/*/*.json"))
    if spoil == "bytes":
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif spoil == "gone":
        file.unlink()
    else:
        record.write_text(record.read_text()[:-20])
    assert finish(job).reused == 19
    assert len(DeltaTable(folder).to_pandas()) == ROWS - 20


def test_another_version_or_input_reuses_nothing(wide: Any) -> None:
    job = begin(wide)
    score(job)
    frame = pd.read_parquet(wide.sales(DAY))
    frame.loc[3, "price"] += 1
    wide.write_sales(DAY, frame)
    assert finish(begin(wide)).reused == 0


def test_what_an_attempt_left_is_gone_once_the_partition_is_published(wide: Any) -> None:
    job = begin(wide)
    score(job)
    left = files_of(wide)
    for record in predictions_path(wide.settings, job.spec).glob("_fragments/*/*/*.json"):
        record.unlink()
    finish(job)
    spec = job.spec
    active = {Path(uri) for uri in DeltaTable(predictions_path(wide.settings, spec)).file_uris()}
    assert {path for path in files_of(wide) if "rejected" not in str(path)} == active
    assert not left & files_of(wide)
    assert not list(predictions_path(wide.settings, spec).glob("_fragments/*/*"))


def test_a_publication_that_was_cut_off_between_its_tables_is_finished_by_the_next_plan(wide: Any) -> None:
    job = begin(wide)
    score(job)
    output_gate(job)
    assert die_in(wide, "publish", "publish:committed=kill") == -signal.SIGKILL
    assert published(predictions_path(wide.settings, job.spec))[DAY].rows_rejected == 20
    assert not (rejected_path(wide.settings, job.spec) / "_delta_log").exists()
    again = wide.job(DAY, "another run")
    assert plan(again).published
    assert len(DeltaTable(rejected_path(wide.settings, job.spec)).to_pandas()) == 20
    version = DeltaTable(rejected_path(wide.settings, job.spec)).version()
    follow(again)
    assert DeltaTable(rejected_path(wide.settings, job.spec)).version() == version
    assert not publish(job).unchanged  # as it is the run's own, and nobody was told


def test_an_attempt_that_was_overtaken_finds_its_files_gone_and_says_who_won(wide: Any) -> None:
    slow = begin(wide)
    score(slow)
    other = wide.job(DAY, "other")
    plan(other)
    input_gate(other)
    for record in predictions_path(wide.settings, slow.spec).glob("_fragments/*/*/*.json"):
        record.unlink()  # else both have the same files
    finish(other)
    with pytest.raises(Superseded, match="was published by version 1 in run 'other"):
        output_gate(slow)


def test_vacuum_removes_orphans_and_nothing_that_was_ever_published(wide: Any) -> None:
    finish(begin(wide))
    frame = pd.read_parquet(wide.sales(DAY))
    wide.write_sales(DAY, frame.iloc[::-1])
    late = begin(wide)
    score(late)
    orphans = files_of(wide)
    wide.write_sales(DAY, frame.iloc[:-1000])
    finish(begin(wide))
    folder = predictions_path(wide.settings, late.spec)
    zombie = folder / f"partition={DAY}" / "000001-zombie-00000.parquet"
    at_work = folder / f"partition={DAY}" / "000002-working-00000.parquet"
    for path in (zombie, at_work):
        path.write_bytes(b"rows")
    spec = late.spec
    before = [DeltaTable(folder, version).to_pandas() for version in (1, 2)]
    planned = vacuum(wide.settings, spec, dry_run=True)
    assert (planned.files, zombie.exists()) == (1, True)
    assert vacuum(wide.settings, spec).files == 1
    assert (zombie.exists(), at_work.exists()) == (False, True)
    assert vacuum(wide.settings, spec, timedelta(0)).files == 1
    assert not at_work.exists()
    for version, rows in zip((1, 2), before, strict=True):
        pd.testing.assert_frame_equal(DeltaTable(folder, version).to_pandas(), rows)
    assert orphans - files_of(wide)


def test_a_second_run_of_a_published_partition_writes_nothing_to_the_tables(wide: Any) -> None:
    finish(begin(wide))
    tables = wide.settings.tables
    before = {path: path.stat().st_mtime_ns for path in tables.rglob("*")}
    again = wide.job(DAY, "again")
    assert plan(again).published
    input_gate(again)
    finish(again)
    assert {path: path.stat().st_mtime_ns for path in tables.rglob("*")} == before


def test_the_log_of_commits_says_which_files_hold_the_rejected_rows(wide: Any) -> None:
    job = begin(wide)
    finish(job)
    publication = published(predictions_path(wide.settings, job.spec))[DAY]
    assert publication.rejected_files is not None
    assert sum(file.rows for file in publication.rejected_files) == 20
    assert json.loads(json.dumps(publication.seconds)) > 0
