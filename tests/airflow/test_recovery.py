"""From kill -9 to running again, by the configuration as it is shipped, in a real Airflow."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import psutil
import pytest
from tally import SEEDS, TALLY

from jobs.settings import Settings
from jobs.table import publications
from lamplighter.airflow_api import AirflowApi, DagRun
from lamplighter.stack import running

AT_MOST = 60
PATIENCE = 240
FIRST_DAY = date(2013, 6, 1)
VICTIMS = ("job", "task process", "supervisor")


def jobs_of(run: DagRun, job: str) -> list[psutil.Process]:
    """The processes that run a job of that run."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "lamplighter.cli" in line and job in line and f"{run.dag_id} {run.dag_run_id}" in line:
            found.append(process)
    return found


def soon(question: Callable[[], Any], what: str) -> Any:
    """The answer, once there is one."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what} within {PATIENCE} s")


def recovered(loop: Any, partition: str, job: str, victim: str) -> float:
    """Kill -9 once, and see the run end well; the seconds until the job ran again."""
    with AirflowApi(loop.airflow_url, "admin", "admin") as api:
        run = api.trigger("score_flight_delays", partition)
        [first] = soon(lambda: jobs_of(run, job), f"no job {job} began")
        task = first.parent()
        assert task is not None
        chosen = {"job": first, "task process": task, "supervisor": task.parent()}[victim]
        os.kill(chosen.pid, signal.SIGKILL)
        killed = time.monotonic()
        soon(lambda: [p for p in jobs_of(run, job) if p.pid != first.pid], f"{job} did not run again")
        seconds = time.monotonic() - killed
        soon(lambda: api.run(run.dag_id, run.dag_run_id).ended, "the run did not end")
        ended = api.run(run.dag_id, run.dag_run_id)
        assert ended.state == "success", api.complaint(ended)
    return seconds


def check(loop: Any, partition: str, job: str, victim: str) -> None:
    """One kill, counted."""
    TALLY.faults += 1
    with TALLY.run():
        seconds = recovered(loop, partition, job, victim)
        print(f"{victim} killed in {job}: {job} ran again after {seconds:.0f} s")  # noqa: T201 - a measurement
        made = [p for p in publications(loop.home / "tables" / "flight_delays") if p.partition == partition]
        TALLY.duplicates += max(0, len(made) - 1)
        assert len(made) == 1
        assert made[0].rows_in == made[0].rows_scored + made[0].rows_rejected
        assert seconds <= AT_MOST


def test_a_run_whose_supervisor_is_killed_goes_on_within_a_minute(loop: Any) -> None:
    check(loop, "2013-05-31", "score", "supervisor")


@pytest.mark.chaos
@pytest.mark.timeout(0)
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("job", ["plan", "score", "publish"])
def test_a_kill_of_any_process_is_made_good_within_a_minute(loop: Any, job: str, victim: str) -> None:
    places = [(j, v) for j in ("plan", "score", "publish") for v in VICTIMS]
    for round_number in range(max(1, SEEDS // 10)):
        day = FIRST_DAY + timedelta(days=round_number * len(places) + places.index((job, victim)))
        check(loop, day.isoformat(), job, victim)


def parts_of(loop: Any) -> dict[str, int]:
    """The pids of Airflow's parts that must come back by themselves, by name."""
    settings = Settings.from_environment(loop.environment)
    stack = running(settings)
    assert stack is not None
    found = {}
    for process in psutil.Process(stack.airflow.pid).children():
        with suppress(psutil.NoSuchProcess):  # a zombie, too
            line = process.cmdline()
            if "airflow" in line and line[-1] in {"scheduler", "dag-processor", "triggerer"}:
                found[line[-1]] = process.pid
    return found


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_parts_of_airflow_that_die_are_back_without_a_person(loop: Any) -> None:
    TALLY.faults += 3
    with TALLY.run():
        before = parts_of(loop)
        assert len(before) == 3
        with AirflowApi(loop.airflow_url, "admin", "admin") as api:
            run = api.trigger("score_flight_delays", "2013-08-01")
            soon(lambda: jobs_of(run, "plan"), "no plan began")
            for pid in before.values():
                os.kill(pid, signal.SIGKILL)
            killed = time.monotonic()
            soon(
                lambda: len(parts_of(loop)) == 3 and not set(parts_of(loop).values()) & set(before.values()), "not back"
            )
            soon(lambda: api.run(run.dag_id, run.dag_run_id).ended, "the run did not end")
            ended = api.run(run.dag_id, run.dag_run_id)
            assert ended.state == "success", api.complaint(ended)
        print(f"all parts killed: the run ended after {time.monotonic() - killed:.0f} s")  # noqa: T201 - a measurement
