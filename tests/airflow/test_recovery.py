"""From kill -9 to running again, by the configuration as it is shipped, in a real Airflow."""

import os
import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import psutil
import pytest
from tally import AIRFLOW_RUNS, SEED, TALLY

from jobs.errors import Unavailable
from jobs.settings import Settings
from jobs.table import publications
from lamplighter.airflow_api import AirflowApi, DagRun
from lamplighter.stack import running

AT_MOST = 60
PATIENCE = 240
FIRST_DAY = date(2013, 6, 1)
RUNS_AT_ONCE = 3
JOBS = {"plan": 2.0, "input-gate": 2.0, "score": 1.5, "output-gate": 1.2, "publish": 0.7}
"""The jobs of a run, each with seconds that it takes at least, on two cores."""
VICTIMS = ("job", "task process", "supervisor")


def jobs_of(run: DagRun, job: str) -> list[psutil.Process]:
    """The processes that run a job of that run, the oldest first."""
    found = []
    for process in psutil.process_iter(["cmdline", "create_time"]):
        line = process.info["cmdline"] or []
        if "lamplighter.cli" in line and job in line and f"{run.dag_id} {run.dag_run_id}" in line:
            found.append(process)
    return sorted(found, key=lambda process: process.info["create_time"])


def soon(question: Callable[[], Any], what: str) -> Any:
    """The answer, once there is one."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := question():
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{what} within {PATIENCE} s")


def triggered(api: AirflowApi, partition: str) -> DagRun | None:
    """A run of the partition; None when Airflow's SQLite is busy with another one."""
    with suppress(Unavailable):
        return api.trigger("score_flight_delays", partition)
    return None


def killed(run: DagRun, job: str, victim: str, after: float) -> float | None:
    """Kill -9 of a process that runs that job, some seconds into it; the seconds until the job ran again.

    None if the job had ended before that moment.
    """
    first = soon(lambda: jobs_of(run, job), f"no job {job} began")[0]
    task = first.parent()
    assert task is not None
    chosen = {"job": first, "task process": task, "supervisor": task.parent()}[victim]
    time.sleep(after)
    if not first.is_running() or first.status() == psutil.STATUS_ZOMBIE:
        return None
    chosen.kill()
    began = time.time()
    TALLY.faults += 1
    soon(lambda: [p for p in jobs_of(run, job) if p.info["create_time"] > began], f"{job} did not run again")
    return time.time() - began


def survived(loop: Any, partition: str, victims: dict[str, str], when: Callable[[], float]) -> dict[str, float]:
    """A run of which each job named loses that process once, and that ends well all the same; seconds by job.

    `when` gives the moments, 0 for the first and 1 for the last of a job.
    """
    seconds = {}
    with TALLY.run(), AirflowApi(loop.airflow_url, "admin", "admin") as api:
        run = soon(lambda: triggered(api, partition), "Airflow did not take the run")
        for job, victim in victims.items():
            if (took := killed(run, job, victim, when() * JOBS[job])) is not None:
                seconds[job] = took
                print(f"{partition}: {victim} killed in {job}, which ran again after {took:.0f} s", flush=True)  # noqa: T201 - a measurement
        soon(lambda: api.run(run.dag_id, run.dag_run_id).ended, "the run did not end")
        ended = api.run(run.dag_id, run.dag_run_id)
        assert ended.state == "success", api.complaint(ended)
        made = [p for p in publications(loop.home / "tables" / "flight_delays") if p.partition == partition]
        TALLY.duplicates += max(0, len(made) - 1)
        assert len(made) == 1
        assert made[0].rows_in == made[0].rows_scored + made[0].rows_rejected
    return seconds


def test_a_run_whose_supervisor_is_killed_goes_on_within_a_minute(loop: Any) -> None:
    seconds = survived(loop, "2013-05-31", {"score": "supervisor"}, when=lambda: 0)
    assert seconds["score"] <= AT_MOST


@pytest.mark.chaos
@pytest.mark.timeout(0)
@pytest.mark.parametrize("turn", range(len(VICTIMS)))
def test_a_kill_of_any_process_in_every_job_is_made_good_within_a_minute(loop: Any, turn: int) -> None:
    victims = {job: VICTIMS[(place + turn) % len(VICTIMS)] for place, job in enumerate(JOBS)}
    moments = random.Random(SEED * len(VICTIMS) + turn)
    days = [FIRST_DAY + timedelta(days=turn * AIRFLOW_RUNS + n) for n in range(AIRFLOW_RUNS)]
    with ThreadPoolExecutor(RUNS_AT_ONCE) as pool:
        work = [pool.submit(survived, loop, d.isoformat(), victims, moments.random) for d in days]
    runs = [future.result() for future in work]
    for job, victim in victims.items():
        hits = [seconds[job] for seconds in runs if job in seconds]
        assert hits, f"no {victim} was hit in {job}: try another SEED"
        print(f"{victim} of {job}: {len(hits)} kills, {min(hits):.0f} to {max(hits):.0f} s")  # noqa: T201 - a measurement
        assert max(hits) <= AT_MOST


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
