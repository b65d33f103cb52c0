"""The main job of `make run`: the nightly loop on real flights, through Airflow's REST API, with progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from jobs.decisions import version_histories
from jobs.errors import Unavailable
from jobs.feed import lay_out_feed
from jobs.performance import Performance, performance
from jobs.registry import open_registry
from jobs.settings import Settings
from jobs.spec_file import load_spec
from jobs.table import predictions_path, published
from lamplighter import stack
from lamplighter.airflow_api import AirflowApi, DagRun
from lamplighter.tables import decisions_table, partitions_table

MODEL = "flight_delays"
RETRAIN, SCORE = f"retrain_{MODEL}", f"score_{MODEL}"
PATIENCE_SECONDS = 900
T = TypeVar("T")


@dataclass(frozen=True)
class Step:
    """Something that the demo has Airflow do, and how it is asked for the partitions that are missing."""

    title: str
    dag_id: str
    partitions: tuple[str, ...]


def steps(days: int) -> tuple[Step, ...]:
    """What Airflow does, with a backfill of the first `days` days of March."""
    march = tuple(f"2013-03-{day:02}" for day in range(1, days + 1))
    return (
        Step("retrain for 2013-02-28: the first champion", RETRAIN, ("2013-02-28",)),
        Step(f"backfill the scores of {march[0]} to {days:02}", SCORE, march),
        Step("retrain for 2013-03-31: challenger against champion", RETRAIN, ("2013-03-31",)),
        Step("score 2013-04-01", SCORE, ("2013-04-01",)),
    )


def demo(settings: Settings, console: Console, days: int) -> None:
    """Run the loop, or as much of it as has not been run yet, and show what came of it.

    The backfill scores as many `days`. Raises Unavailable.
    """
    began = time.monotonic()
    stack.check_disk(settings)
    with _progress(console) as progress:
        _timed(progress, "lay out the flights of 2013", lambda _: _feed(settings))
        running = _timed(progress, "start MLflow and Airflow", lambda say: stack.up(settings, say))
        with AirflowApi(running.airflow_url, stack.USER, stack.PASSWORD) as api:
            _timed(progress, "read the DAGs", lambda _: _unpause(api))
            for step in steps(days):
                _timed(progress, step.title, partial(_carry_out, api, step))
    with console.status("reading back what was decided and published"):
        show(replace(settings, tracking_uri=running.mlflow_url), console)
    console.print(f"All this took {time.monotonic() - began:.0f} s. Both servers stay up until `make down`:")
    console.print(f"  Airflow  {running.airflow_url}  (user {stack.USER}, password {stack.PASSWORD})")
    console.print(f"  MLflow   {running.mlflow_url}")


def show(settings: Settings, console: Console) -> None:
    """Print what was decided, what is published, and how good the scores were."""
    spec = load_spec(settings.models, MODEL)
    there = published(predictions_path(settings, spec))
    now = datetime.now(UTC)
    measured: dict[str, Performance] = {
        key: performance(settings, spec, spec.source.calendar.parse(key), now) for key in sorted(there)
    }
    console.print(decisions_table(version_histories(open_registry(settings), MODEL)))
    console.print(partitions_table(there, measured))


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(finished_text="✓"), TimeElapsedColumn(), TextColumn("{task.description}"))
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _timed(progress: Progress, title: str, work: Callable[[Callable[[str], None]], T]) -> T:
    """Show a line with a clock while `work` runs; it may say what it is doing, and how it ended."""
    began = time.monotonic()
    task = progress.add_task(title, total=1)

    def say(text: str) -> None:
        progress.update(task, description=f"{title} [dim]{text}[/dim]")

    ended = work(say)
    said = f" [dim]{ended}[/dim]" if isinstance(ended, str) and ended else ""
    progress.update(task, description=title + said, completed=1)
    if not progress.console.is_terminal:
        progress.console.print(f"{time.monotonic() - began:4.0f} s  {title}{said}", soft_wrap=True)
    return ended


def _feed(settings: Settings) -> str:
    written = lay_out_feed(settings, MODEL)
    return f"{written} partitions" if written else "there already"


def _unpause(api: AirflowApi) -> None:
    deadline = time.monotonic() + 120
    while not {RETRAIN, SCORE} <= api.dag_ids():
        if time.monotonic() > deadline:
            faults = "; ".join(api.import_errors()) or "see the log of Airflow"
            raise Unavailable(f"Airflow did not find the DAGs {RETRAIN} and {SCORE}: {faults}")
        time.sleep(1)
    for dag_id in (RETRAIN, SCORE):
        api.unpause(dag_id)


def _carry_out(api: AirflowApi, step: Step, say: Callable[[str], None]) -> str:
    done = {run.partition for run in api.runs(step.dag_id) if run.state == "success"}
    missing = [key for key in step.partitions if key not in done]
    if not missing:
        return "done before: nothing was changed"
    if len(step.partitions) > 1:
        first, last = (datetime.fromisoformat(key) for key in (step.partitions[0], step.partitions[-1]))
        api.backfill(step.dag_id, first, last, max_active_runs=3)
    else:
        api.trigger(step.dag_id, missing[0])
    _wait(api, step, set(missing), say)
    return ""


def _wait(api: AirflowApi, step: Step, missing: set[str], say: Callable[[str], None]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        newest: dict[str, DagRun] = {}
        for run in api.runs(step.dag_id):
            if run.partition in missing:
                newest.setdefault(str(run.partition), run)
        if failed := next((run for run in newest.values() if run.state == "failed"), None):
            raise Unavailable(f"{failed.dag_id} for {failed.partition} failed. {api.complaint(failed)}")
        ended = [run for run in newest.values() if run.ended]
        if len(ended) == len(missing):
            return
        at_work = [f"{r.partition} {t}" for r in newest.values() if r.state == "running" for t in api.running_tasks(r)]
        say(f"{len(ended)} of {len(missing)} done" + (f", running {', '.join(sorted(at_work))}" if at_work else ""))
        if time.monotonic() > deadline:
            raise Unavailable(f"{step.dag_id} was not done in {PATIENCE_SECONDS} s: look at it in Airflow.")
        time.sleep(1)
