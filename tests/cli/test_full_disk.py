"""A full disk is one sentence, on every engine, and what was there before is still there."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from jobs.errors import Rejected, Unavailable
from jobs.input_gate import input_gate
from jobs.plan import plan
from jobs.score import score
from jobs.settings import Settings
from lamplighter import stack
from lamplighter.console import run_and_exit


def test_a_demo_does_not_begin_on_a_disk_that_is_too_small(tmp_path: Path) -> None:
    settings = Settings.from_environment({"LAMPLIGHTER_HOME": str(tmp_path)})
    far_too_much = shutil.disk_usage(tmp_path).total // 1_000_000 + 1
    with pytest.raises(Unavailable, match=rf"and {far_too_much} MB are needed: free some"):
        stack.check_disk(settings, far_too_much)


@pytest.mark.parametrize("step", ["write_table", "close"])
def test_a_disk_that_fills_up_while_scoring_is_unavailable_and_leaves_no_half_file(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    job = open_shop.job("2026-01-16")
    plan(job)
    input_gate(job)
    before = sorted(open_shop.settings.tables.rglob("*.parquet"))

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, step, full)
    with pytest.raises(Unavailable, match="is full: free some space and run the same again; nothing is lost"):
        score(job)
    assert sorted(open_shop.settings.tables.rglob("*.parquet")) == before


def test_a_disk_that_is_full_anywhere_else_is_one_sentence_too(caplog: pytest.LogCaptureFixture) -> None:
    def work() -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(typer.Exit) as caught:
        run_and_exit("plan", work, None, {})
    assert caught.value.exit_code == 1
    assert "The disk is full" in caplog.text


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 1, "There is not enough memory: give the job more"),
        (pa.lib.ArrowMemoryError("malloc of size 9 failed"), 1, "There is not enough memory"),
        (
            OSError(errno.EROFS, "Read-only file system", "/tables/x"),
            4,
            "/tables/x cannot be written or read (Read-only",
        ),
        (OSError("Generic LocalFileSystem error: /x (os error 30)"), 4, "give the user of this job the right to"),
        (PermissionError(errno.EACCES, "Permission denied", "/work"), 4, "give the user of this job the right to"),
    ],
)
def test_what_the_machine_lacks_is_one_sentence_and_a_result(
    error: Exception, code: int, says: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def work() -> object:
        raise error

    with pytest.raises(typer.Exit) as caught:
        run_and_exit("plan", work, tmp_path / "result.json", {})
    assert caught.value.exit_code == code
    assert says in caplog.text
    assert says in json.loads((tmp_path / "result.json").read_text())["message"]


@pytest.mark.parametrize(
    ("ended", "code", "says"), [(None, 1, "/dev is full"), (Rejected("The gate is closed."), 3, "The gate is closed.")]
)
def test_a_full_disk_under_the_result_is_tried_again_and_hides_no_other_error(
    caplog: pytest.LogCaptureFixture, ended: Exception | None, code: int, says: str
) -> None:
    def work() -> str:
        if ended is not None:
            raise ended
        return "done"

    with pytest.raises(typer.Exit) as caught:
        run_and_exit("plan", work, Path("/dev/full"), {})
    assert caught.value.exit_code == code
    assert says in caplog.text
    assert "/dev is full: free some space and run the same again" in caplog.text


def test_a_quota_is_a_full_disk_too(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def over(*_: Any, **__: Any) -> None:
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(Path, "write_text", over)
    with pytest.raises(Unavailable, match=r"The disk of \S+/test is full: free some space"):
        plan(open_shop.job("2026-01-16"))
