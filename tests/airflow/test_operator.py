"""The operator: a job's log, result and failure become the task's; the job ends with its task."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from airflow.sdk import exceptions as airflow_exceptions

from lamplighter_airflow.operator import JobOperator, split_level, summary
from lamplighter_airflow.partitions import partition_of_run


def context(partition: str | None, param: str | None = None) -> dict[str, Any]:
    run = SimpleNamespace(partition_key=partition, dag_id="score_x", run_id="manual__1", triggering_user_name="ada")
    return {"dag_run": run, "params": {"partition": param}}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LAMPLIGHTER_HOME", str(tmp_path))
    return tmp_path


def test_what_cannot_be_helped_by_waiting_fails_for_good(home: Path) -> None:
    operator = JobOperator(task_id="plan", job="plan", model="no_such_model")
    with pytest.raises(airflow_exceptions.AirflowFailException, match="There is no model 'no_such_model'"):
        operator.execute(context("2013-03-01"))


@pytest.mark.parametrize("reason", ["a\0b", "half \ud83d"])
def test_a_form_that_no_command_line_takes_is_a_sentence(home: Path, reason: str) -> None:
    operator = JobOperator(
        task_id="move", job="promote", model="x", arguments=[f"--reason={reason}"], partitioned=False
    )
    with pytest.raises(airflow_exceptions.AirflowFailException, match="holds a character that cannot be passed on"):
        operator.execute(context(None))


def test_what_may_come_later_is_retried(home: Path) -> None:
    operator = JobOperator(task_id="input_gate", job="input-gate", model="flight_delays")
    with pytest.raises(airflow_exceptions.AirflowException, match="has no files for 2013-03-01") as caught:
        operator.execute(context("2013-03-01"))
    assert not isinstance(caught.value, airflow_exceptions.AirflowFailException)


def test_the_log_of_the_job_arrives_line_by_line_at_its_level(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    operator = JobOperator(task_id="plan", job="plan", model="no_such_model")
    with pytest.raises(airflow_exceptions.AirflowFailException):
        operator.execute(context("2013-03-01"))
    said = [line for line in capsys.readouterr().out.splitlines() if "There is no model" in line]
    assert len(said) == 1
    assert "[error    ] lamplighter: There is no model" in said[0]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ERROR lamplighter: no", (logging.ERROR, "lamplighter: no")),
        ("WARNING x: y", (logging.WARNING, "x: y")),
        ("flight_delays 2013-03-01: done", (logging.INFO, "flight_delays 2013-03-01: done")),
        ("", (logging.INFO, "")),
    ],
)
def test_a_line_keeps_its_level(line: str, expected: tuple[int, str]) -> None:
    assert split_level(line) == expected


def test_xcom_gets_figures_and_no_lists() -> None:
    result = {
        "job": "score",
        "status": "done",
        "message": "10 rows",
        "result": {"version": {"number": 3, "model": "x"}, "rows_in": 10, "fragments": [1] * 1000, "report": {"a": 1}},
    }
    assert summary(result) == {"job": "score", "status": "done", "message": "10 rows", "version": 3, "rows_in": 10}


def test_a_run_needs_one_partition() -> None:
    assert partition_of_run("2013-03-01", None) == "2013-03-01"
    assert partition_of_run(None, "2013-03-01") == "2013-03-01"
    assert partition_of_run("2013-03-01", "2013-03-01") == "2013-03-01"
    with pytest.raises(airflow_exceptions.AirflowFailException, match="has no partition"):
        partition_of_run(None, None)
    with pytest.raises(airflow_exceptions.AirflowFailException, match="trigger it with one of them"):
        partition_of_run("2013-03-01", "2013-03-02")


def test_a_job_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    job = f"""
import os, pathlib, time
from lamplighter.parent import die_with_parent
die_with_parent()
pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
time.sleep(60)
"""
    task = f"""
import os, subprocess, sys
environment = os.environ | {{"LAMPLIGHTER_DIE_WITH_PARENT": str(os.getpid())}}
subprocess.run([sys.executable, "-c", {job!r}], env=environment, start_new_session=True)
"""
    with subprocess.Popen([sys.executable, "-c", task]) as parent:
        _until(lambda: pid_file.is_file() and pid_file.read_text() != "")
        child = psutil.Process(int(pid_file.read_text()))
        os.kill(parent.pid, signal.SIGKILL)
    _until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_job_whose_task_died_while_it_was_starting_ends_at_once() -> None:
    job = "from lamplighter.parent import die_with_parent; die_with_parent(); print('went on')"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    environment = os.environ | {"LAMPLIGHTER_DIE_WITH_PARENT": str(gone.pid)}
    ran = subprocess.run([sys.executable, "-c", job], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (-signal.SIGKILL, "")


def test_killing_the_task_ends_the_job_and_what_it_started(tmp_path: Path) -> None:
    operator = JobOperator(task_id="plan", job="plan", model="x")
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    operator._child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    job = psutil.Process(operator._child.pid)
    _until(job.children)
    grandchild = job.children()[0]
    operator.on_kill()
    _until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)
    assert operator._child.poll() is not None


def _until(holds: Any, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
