"""A commit that another one got in between of, that was done and reported as failed, or that finds no room."""

import errno
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError

from jobs.commit import raise_fence
from jobs.errors import Misconfigured, Superseded, Unavailable
from jobs.follow import follow
from jobs.fragment_file import FragmentFile
from jobs.publish import publish
from jobs.table import predictions_path, publications, rejected_path

DAY = "2026-01-16"
ROWS = pa.table({"toy_id": ["a", "b"], "score": [0.5, 0.25]})


@pytest.fixture
def spoilt(open_shop: Any) -> Any:
    """A day of which one row will be rejected."""
    frame = pd.read_parquet(open_shop.sales(DAY) / "part-0.parquet")
    frame.loc[3, "price"] = -1.0
    open_shop.write_sales(DAY, frame)
    return open_shop


class Between:
    """Lets the first commits fail as Delta does when another commit was first; with `done` they are carried out.

    Or lets those `after` the first ones fail with an `error`.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        failures: int,
        *,
        done: bool = False,
        error: Exception | None = None,
        after: int = 0,
    ) -> None:
        self.calls = 0
        real = DeltaTable.create_write_transaction

        def commit(table: DeltaTable, *args: Any, **options: Any) -> None:
            self.calls += 1
            if error is not None and self.calls > after:
                raise error
            if self.calls > failures or done:
                real(table, *args, **options)
            else:
                other = DeltaTable(table.table_uri)
                real(other, [], mode="append", schema=other.schema(), partition_by=["partition"])
            if self.calls <= failures:
                raise CommitFailedError("a concurrent transaction was first")

        patch.setattr(DeltaTable, "create_write_transaction", commit)


def rows(path: Any) -> int:
    return len(DeltaTable(str(path)).to_pandas())


@pytest.mark.parametrize("failures", [1, 9])
def test_commits_to_other_partitions_are_waited_out(
    spoilt: Any, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    job = spoilt.prepare(DAY)
    between = Between(monkeypatch, failures)
    done = publish(job)
    assert (
        done.sentence()
        == f"toys {DAY}: 119 rows by version 1 are published as table version {failures + 1}, 1 rejected."
    )
    again = publish(job)
    assert again == done
    assert between.calls == failures + 2  # the rejected rows follow
    assert rows(predictions_path(job.settings, job.spec)) == 119
    assert rows(rejected_path(job.settings, job.spec)) == 1


def test_a_commit_that_was_reported_as_failed_is_found_and_not_repeated(
    spoilt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = spoilt.prepare(DAY)
    between = Between(monkeypatch, 1, done=True)
    publish(job)
    assert between.calls == 2
    path = predictions_path(job.settings, job.spec)
    assert (rows(path), len(publications(path))) == (119, 1)
    assert rows(rejected_path(job.settings, job.spec)) == 1


def test_a_table_that_is_always_busy_is_a_sentence_and_the_next_try_publishes(
    spoilt: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = spoilt.prepare(DAY)
    with monkeypatch.context() as patch:
        between = Between(patch, 10)
        with pytest.raises(Unavailable, match=f"^toys {DAY} found the table busy 10 times: run again"):
            publish(job)
    assert between.calls == 10
    assert publications(predictions_path(job.settings, job.spec)) == []
    assert not publish(job).unchanged


def test_a_disk_that_is_full_for_a_commit_is_a_sentence(spoilt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = spoilt.prepare(DAY)
    said = "Generic LocalFileSystem error\n  ↳ Unable to copy data to file\n  ↳ No space left on device (os error 28)"
    for failing in (0, 1):  # the predictions, and the rejected rows
        with monkeypatch.context() as patch:
            Between(patch, 0, error=OSError(said), after=failing)
            with pytest.raises(Unavailable, match=r"_?rejected is full: |/toys is full: "):
                publish(job)
    publish(job)
    path = predictions_path(job.settings, job.spec)
    assert (rows(path), len(publications(path))) == (119, 1)
    assert rows(rejected_path(job.settings, job.spec)) == 1


def test_rejected_rows_that_find_their_table_busy_follow_later(spoilt: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = spoilt.prepare(DAY)
    with monkeypatch.context() as patch:
        patch.setattr("jobs.publish.follow", lambda _job: None)
        publish(job)
    assert not DeltaTable.is_deltatable(str(rejected_path(job.settings, job.spec)))
    with monkeypatch.context() as patch:
        Between(patch, 10)
        with pytest.raises(Unavailable, match="found the table busy 10 times"):
            follow(job)
    follow(job)
    follow(job)  # and not twice
    assert rows(rejected_path(job.settings, job.spec)) == 1


@pytest.mark.parametrize("count", [2, 400_000])
def test_a_disk_that_is_full_is_a_sentence_and_leaves_no_file(tmp_path: Path, count: int) -> None:
    path = tmp_path / "a.parquet"
    path.symlink_to("/dev/full")
    many = pa.table({"toy_id": [os.urandom(16) for _ in range(count)]})  # a few are written when the file is closed
    full = pytest.raises(Unavailable, match=rf"^The disk of {tmp_path} is full")
    with full, FragmentFile(str(tmp_path), path.name) as file:
        file.write(many)
    assert not path.is_symlink()


def test_a_disk_that_is_full_for_the_last_bytes_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = pq.ParquetWriter.close

    def full(writer: pq.ParquetWriter) -> None:
        close(writer)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "close", full)
    with pytest.raises(Unavailable, match="is full"), FragmentFile(str(tmp_path), "a.parquet") as file:
        file.write(ROWS)
    assert list(tmp_path.iterdir()) == []


def _write_and_fail(file: FragmentFile) -> None:
    file.write(ROWS)
    raise KeyError("oh")


def test_an_error_in_between_leaves_no_file_and_no_rows_make_none(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="oh"), FragmentFile(str(tmp_path), "a.parquet") as file:
        _write_and_fail(file)
    with FragmentFile(str(tmp_path), "b.parquet") as file:
        file.write(ROWS.slice(2))
    assert (file.written(), list(tmp_path.iterdir())) == (None, [])
    with FragmentFile(str(tmp_path), "c.parquet") as file:
        file.write(ROWS)
        file.write(ROWS)
    written = file.written()
    assert written is not None
    assert (written.rows, written.is_intact(tmp_path)) == (4, True)


def test_another_trouble_with_a_file_is_raised_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").mkdir()
    with pytest.raises(OSError, match="directory"), FragmentFile(str(tmp_path), "a.parquet") as file:
        file.write(ROWS)


def test_a_commit_tells_readers_how_many_rows_a_file_has_and_when_it_was_made(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    publish(job)
    path = predictions_path(job.settings, job.spec)
    actions = pa.table(DeltaTable(str(path)).get_add_actions(flatten=True)).to_pylist()
    assert sum(action["num_records"] for action in actions) == 120
    for action in actions:
        made = (Path(str(path)) / action["path"]).stat().st_mtime
        assert action["modification_time"] / 1000 == pytest.approx(made, abs=1)


def test_who_is_overtaken_says_by_whom_and_what_to_do(open_shop: Any) -> None:
    late = open_shop.prepare(DAY, "late")
    publish(open_shop.prepare(DAY, "early"))
    with pytest.raises(Superseded) as told:
        publish(late)
    said = r"toys 2026-01-16 was published by version 1 in run 'early [0-9a-f]{12}' after this attempt began: "
    said += "nothing was published twice. Run it again if it should be published anew."
    assert re.fullmatch(said, str(told.value))


def _log(path: Any, version: int) -> list[dict[str, Any]]:
    lines = (Path(str(path)) / "_delta_log" / f"{version:020d}.json").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_a_commit_names_its_attempt_and_says_that_it_changes_data(open_shop: Any) -> None:
    made = publish(open_shop.prepare(DAY)).publication
    path = predictions_path(open_shop.settings, open_shop.job(DAY).spec)
    assert made.score_mean == pytest.approx(DeltaTable(str(path)).to_pandas()["score"].mean(), rel=1e-12)
    about, *actions = _log(path, 1)
    assert about["commitInfo"]["lamplighter.attempt"] == made.run  # a name that older commits have, too
    assert [action["add"]["dataChange"] for action in actions if "add" in action] == [True] * made_files(open_shop)


def made_files(shop: Any) -> int:
    return len(DeltaTable(str(predictions_path(shop.settings, shop.job(DAY).spec))).file_uris())


def test_an_attempt_that_another_tool_overtook_says_so(open_shop: Any) -> None:
    publish(open_shop.prepare("2026-01-15"))
    late = open_shop.prepare(DAY, "late")
    path = predictions_path(open_shop.settings, late.spec)
    (Path(str(path)) / "_delta_log" / f"{2:020d}.json").write_text(
        json.dumps({"txn": {"appId": f"score:{DAY}", "version": 7}}) + "\n"
    )
    with pytest.raises(Superseded, match=f"toys {DAY} was taken over after this attempt began, by another tool or"):
        publish(late)


def test_a_publication_from_before_rejected_rows_followed_is_left_as_it_is(open_shop: Any) -> None:
    job = open_shop.prepare(DAY)
    publish(job)
    path = predictions_path(open_shop.settings, job.spec)
    log = Path(str(path)) / "_delta_log" / f"{1:020d}.json"
    about, *actions = _log(path, 1)
    of_old = json.loads(about["commitInfo"]["lamplighter"])
    del of_old["rejected_files"]
    about["commitInfo"]["lamplighter"] = json.dumps(of_old)
    log.write_text("".join(json.dumps(line) + "\n" for line in (about, *actions)))
    beside = rejected_path(open_shop.settings, job.spec)
    shutil.rmtree(beside, ignore_errors=True)
    follow(job)
    assert not Path(str(beside)).exists()


def test_a_fence_that_delta_refuses_is_a_sentence_and_one_that_came_late_is_told(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = open_shop.prepare(DAY)
    publish(job)
    path = predictions_path(job.settings, job.spec)
    with monkeypatch.context() as patch:
        Between(patch, 9)
        assert raise_fence(path, DAY, 1) is False
    with monkeypatch.context() as patch:
        Between(patch, 0, error=CommitFailedError("this table is append only"))
        with pytest.raises(Misconfigured, match=r"Delta refuses to write to toys: .* append only"):
            raise_fence(path, DAY, 1)
    assert raise_fence(path, DAY, 1) is True
