"""Carrying out a backfill: through Airflow's own backfill, or here and now."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from jobs.errors import LamplighterError, Misconfigured, Unavailable, in_brief

if TYPE_CHECKING:
    from jobs.backfill import BackfillPlan
    from jobs.partition import Calendar, Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from lamplighter.airflow_api import AirflowApi, DagRun

log = logging.getLogger(__name__)

Say = Callable[[str], None]
POLL_SECONDS = 2.0
STUCK_SECONDS = 3600.0
SILENT_SECONDS = 600.0


class Assets(StrEnum):
    """When DAGs downstream learn of the new predictions."""

    once = "once"
    never = "never"
    each = "each"


@dataclass(frozen=True)
class Outcome:
    """What became of a partition that was handed over."""

    partition: str
    done: bool
    said: str


def ranges(calendar: Calendar, keys: Sequence[str]) -> list[tuple[Partition, ...]]:
    """The partitions in groups without a gap, so that a backfill from first to last includes just these."""
    found = sorted((calendar.parse(key) for key in keys), key=lambda partition: partition.start)
    groups: list[list[Partition]] = []
    for partition in found:
        if groups and calendar.after(groups[-1][-1]) == partition:
            groups[-1].append(partition)
        else:
            groups.append([partition])
    return [tuple(group) for group in groups]


def run_here(settings: Settings, plan: BackfillPlan, run: str, say: Say) -> list[Outcome]:
    """Score the chosen partitions in this process, one after the other; one that fails does not stop the others."""
    from jobs.context import JobContext
    from jobs.rescore import score_partition

    outcomes = []
    for number, planned in enumerate(plan.chosen, 1):
        say(f"{number} of {len(plan.chosen)}: {planned.partition}")
        try:
            published = score_partition(JobContext.create(settings, plan.model, planned.partition, run), plan.selector)
            outcomes.append(Outcome(planned.partition, done=True, said=published.sentence()))
        except LamplighterError as error:
            outcomes.append(Outcome(planned.partition, done=False, said=str(error)))
        except Exception as error:
            log.exception("%s %s failed.", plan.model, planned.partition)
            outcomes.append(Outcome(planned.partition, done=False, said=f"{in_brief(error)} (the log has the rest)"))
    return outcomes


def run_in_airflow(
    api: AirflowApi, spec: ModelSpec, plan: BackfillPlan, assets: Assets, parallel: int, say: Say
) -> list[Outcome]:
    """Hand exactly the chosen partitions to Airflow, wait for them, and tell what became of each.

    Each range without a gap is one backfill of Airflow, which allows one at a time; a partition by itself, and every
    one of a DAG without a schedule, is a run of its own. Raises Misconfigured when the DAG is not there or paused,
    Unavailable when another backfill or run is in the way.
    """
    dag_id = f"score_{plan.model}"
    check_dag(api, dag_id)
    conf = {"model": plan.selector, "assets": "each" if assets is Assets.each else "never"}
    calendar = spec.source.calendar
    seen: dict[str, DagRun] = {}
    try:
        outcomes: list[Outcome] = []
        for group in _groups(spec, calendar, [p.partition for p in plan.chosen], parallel):
            keys = [partition.key for partition in group]
            if spec.schedules.score is None:
                runs = {key: api.trigger(dag_id, None, conf | {"partition": key}).dag_run_id for key in keys}
            elif len(keys) == 1:
                runs = {keys[0]: api.trigger(dag_id, keys[0], conf).dag_run_id}
            else:
                runs = hand_over(api, dag_id, calendar, group, conf, parallel)
            outcomes += _wait(api, dag_id, runs, seen, say)
    except BaseException:  # also of somebody who ends this: what is done is done
        with suppress(Unavailable):
            _tell(api, plan, assets, seen, say)
        raise
    _tell(api, plan, assets, seen, say)
    return outcomes


def _groups(spec: ModelSpec, calendar: Calendar, keys: Sequence[str], parallel: int) -> Sequence[Sequence[Partition]]:
    """What is handed over together: a range without a gap, or as many runs as may be at work at a time."""
    if spec.schedules.score is not None:
        return ranges(calendar, keys)
    found = [calendar.parse(key) for key in keys]
    return [found[start : start + parallel] for start in range(0, len(found), parallel)]


def _tell(api: AirflowApi, plan: BackfillPlan, assets: Assets, seen: Mapping[str, DagRun], say: Say) -> None:
    """Emit one event for what was published, if anything was, and one is asked for."""
    if assets is not Assets.once:
        return
    done = [key for key, run in seen.items() if run.state == "success"]
    extra = {"partitions": done, "message": f"A backfill published {len(done)} of {len(plan.chosen)} partitions."}
    if done and not api.emit(f"predictions({plan.model})", extra):
        say(f"Airflow does not know the asset predictions({plan.model}) yet: no event was emitted.")


def check_dag(api: AirflowApi, dag_id: str) -> None:
    """Raise Misconfigured or Unavailable when Airflow would not run a backfill of the DAG now."""
    paused = api.paused(dag_id)
    if paused is None:
        raise Misconfigured(f"Airflow has no DAG {dag_id}: check that it reads this project's dags/ and these models.")
    if paused:
        raise Misconfigured(f"{dag_id} is paused, and Airflow runs nothing of it: switch it on first.")
    if not api.backfill_is_over(dag_id):
        raise Unavailable(f"Another backfill of {dag_id} is at work, and Airflow allows one at a time: wait for it.")


def hand_over(
    api: AirflowApi,
    dag_id: str,
    calendar: Calendar,
    group: Sequence[Partition],
    conf: dict[str, str],
    parallel: int,
) -> dict[str, str]:
    """Start one backfill of Airflow for a range; returns the run of each partition. Raises Unavailable."""
    while not api.backfill_is_over(dag_id):  # the one before, whose runs have ended: the scheduler has yet to say so
        time.sleep(POLL_SECONDS)
    first, last = (calendar.local(partition) for partition in (group[0], group[-1]))
    wanted = [partition.key for partition in group]
    would = api.backfill_dry_run(dag_id, first, last)
    if would != wanted:
        differs = ", ".join(sorted(set(wanted) ^ set(would))[:5])
        raise Unavailable(
            f"Airflow's backfill of {dag_id} would not run just these partitions, but differs in {differs}: they "
            f"are at work already. Wait until they have ended, and run the backfill again."
        )
    before = {run.dag_run_id for key in wanted for run in api.runs(dag_id, key)}
    api.backfill(dag_id, first, last, parallel, reprocess="completed", conf=conf)
    found = {key: [run for run in api.runs(dag_id, key) if run.dag_run_id not in before] for key in wanted}
    lost = [key for key, runs in found.items() if not runs]
    if lost:
        raise Unavailable(f"Airflow's backfill of {dag_id} left out {', '.join(lost[:5])}: look at it in Airflow.")
    return {key: runs[0].dag_run_id for key, runs in found.items()}


def _wait(api: AirflowApi, dag_id: str, runs: dict[str, str], seen: dict[str, DagRun], say: Say) -> list[Outcome]:
    """Wait until every run is over, and note in `seen` what each was last.

    Raises Unavailable when no task was at work for an hour, or Airflow did not answer for ten minutes.
    """
    moved, answered, last = time.monotonic(), time.monotonic(), ""
    while True:
        try:
            now = {key: api.run(dag_id, dag_run_id) for key, dag_run_id in runs.items()}
        except Unavailable:
            if time.monotonic() - answered > SILENT_SECONDS:
                raise
            time.sleep(POLL_SECONDS)
            continue
        answered = time.monotonic()
        seen |= now
        ended = [run for run in now.values() if run.ended]
        if len(ended) == len(now):
            return [_outcome(api, key, run) for key, run in now.items()]
        states = " ".join(run.state for run in now.values())
        if states != last:
            moved, last = time.monotonic(), states
            failed = sum(run.state == "failed" for run in ended)
            told = f", {failed} failed" if failed else ""
            at_work = ", ".join(key for key, run in now.items() if run.state == "running") or "none"
            say(f"{min(now)} to {max(now)}: {len(ended)} of {len(now)} done{told}; at work: {at_work}")
        if time.monotonic() - moved > STUCK_SECONDS:
            if not any(api.running_tasks(run) for run in now.values() if not run.ended):
                raise Unavailable(f"Nothing of {dag_id} has moved for an hour: look at it in Airflow.")
            moved = time.monotonic()
        time.sleep(POLL_SECONDS)


def _outcome(api: AirflowApi, key: str, run: DagRun) -> Outcome:
    if run.state == "success":
        return Outcome(key, done=True, said=f"run {run.dag_run_id}")
    return Outcome(key, done=False, said=api.complaint(run))


def by_hand(spec: ModelSpec, plan: BackfillPlan) -> list[str]:
    """How to do the same in Airflow's user interface, line by line."""
    if not plan.chosen:
        return []
    lines = [f"The same in Airflow's user interface: score_{plan.model} > Trigger (Downstream: each or never),"]
    calendar = spec.source.calendar
    for group in ranges(calendar, [p.partition for p in plan.chosen]):
        if len(group) == 1 or spec.schedules.score is None:
            lines.append(f"  Single Run: Partition {', '.join(p.key for p in group)}, Version {plan.selector}")
        else:
            first, last = (f"{calendar.local(p):%Y-%m-%d %H:%M}" for p in (group[0], group[-1]))
            lines.append(
                f"  Backfill: from {first} to {last}, Reprocess Behavior: All Runs, Version {plan.selector} "
                f"(one backfill at a time)"
            )
    return lines
