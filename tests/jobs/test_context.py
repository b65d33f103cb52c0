"""What the jobs of a run leave for each other."""

import errno
from pathlib import Path
from typing import Any

import pytest

from jobs.context import JobContext, file_name
from jobs.errors import Misconfigured, Unavailable
from jobs.plan import Plan, plan
from jobs.score import ScoreResult
from jobs.settings import Settings

DAY = "2026-01-16"


def test_a_result_of_another_release_is_one_sentence_and_no_stack_trace(open_shop: Any) -> None:
    job: JobContext = open_shop.job(DAY)
    plan(job)
    kept = job.file("plan")
    kept.write_text(kept.read_text().replace('"rows"', '"lines"'))
    with pytest.raises(Misconfigured) as told:
        job.recall("plan", Plan)
    assert str(told.value) == (
        "plan.json of the run 'test' was written by another release, or is broken: run `lamplighter plan` again."
    )
    with pytest.raises(Misconfigured, match="was written by another release"):
        job.recalled("plan", Plan)
    assert job.recalled("score", ScoreResult) is None
    kept.write_bytes(b"\xff\xfe")
    with pytest.raises(Misconfigured, match="or is broken"):
        job.recall("plan", Plan)


@pytest.mark.parametrize("odd", ["100%", "what?"])
def test_a_home_that_no_address_of_a_database_can_have_is_refused(tmp_path: Path, odd: str) -> None:
    home = {"LAMPLIGHTER_HOME": str(tmp_path / odd)}
    with pytest.raises(Misconfigured, match=r"has a % or a [?]"):
        Settings.from_environment(home)
    elsewhere = {"LAMPLIGHTER_LEDGER_URL": "sqlite:////x/ledger.db", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"}
    assert Settings.from_environment(home | elsewhere).home.name == odd


def test_results_lie_apart_for_each_plan_of_a_run(open_shop: Any) -> None:
    job: JobContext = open_shop.job(DAY)
    made = plan(job)
    under = job.under(made)
    under.keep("score", {"rows": 1})
    assert under.file("score").is_file()
    assert not job.file("score").exists()
    assert under.folder == job.folder
    with pytest.raises(
        Misconfigured, match=r"toys 2026-01-16 has no result of `score` yet: run `lamplighter score --m"
    ):
        job.recall("score", ScoreResult)


@pytest.mark.parametrize(
    ("number", "becomes", "says"),
    [(errno.ENOSPC, Unavailable, "is full"), (errno.EDQUOT, Unavailable, "is full"), (errno.EIO, OSError, "broken")],
)
def test_no_room_for_a_result_is_one_sentence_and_what_else_the_disk_says_stays(
    open_shop: Any, monkeypatch: pytest.MonkeyPatch, number: int, becomes: type[Exception], says: str
) -> None:
    job: JobContext = open_shop.job(DAY)

    def fail(*_: Any) -> None:
        raise OSError(number, "broken")

    monkeypatch.setattr(Path, "replace", fail)
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(becomes, match=says):
        job.keep("score", {})


def test_runs_of_any_name_have_a_folder_of_their_own() -> None:
    assert file_name("scheduled__2026-01-16") == "scheduled__2026-01-16"
    names = ["a/b", "a b", "a_b", "..", ".", "é", "x" * 81, "x" * 82]
    found = [file_name(name) for name in names]
    assert len(set(found)) == len(names)
    assert all("/" not in name and name not in {".", ".."} and len(name) < 100 for name in found)
