"""From a spec to its two DAGs. One place decides what they look like; the files under dags/ only call it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from math import ceil

from airflow.sdk import DAG, Param, chain
from airflow.sdk.exceptions import AirflowFailException

from jobs.context import file_name
from jobs.errors import InvalidSpec, Misconfigured
from jobs.partition import EXAMPLE, Every
from jobs.settings import Settings
from jobs.spec import ModelSpec
from jobs.spec_file import load_spec, model_names
from jobs.spec_schedule import Schedule
from lamplighter_airflow.approval import APPROVER
from lamplighter_airflow.assets import EmittingJobOperator, champion, predictions
from lamplighter_airflow.deadline import deadline
from lamplighter_airflow.operator import JobOperator, task_defaults
from lamplighter_airflow.partitions import pattern, timetable
from lamplighter_airflow.promote_dags import approve_task
from lamplighter_airflow.readiness import about_late, wait_for_partition
from model_registry.requests import Approval
from model_registry.store import Stage

SCORE_DOC = """\
### {description}

Scores one partition and publishes it in one commit: **plan** (which version, which rows) → **input gate** (is the
batch fit to be scored?) → **score** → **output gate** (does everything add up?) → **publish**.

* *Nightly*: {schedule}. {late}
* *By hand*: press Trigger, fill in `partition`. A partition that is published from the same input by the same version
  is left as it is.
* *Backfill*: press Trigger, choose Backfill and a range of dates. Each partition is scored by the version that was in
  production when it began, unless `model` says otherwise.

Owner: {owner}. Spec: `models/{model}/model.yaml`.
"""
AT_ONCE = 4
"""So many runs of a model's scoring are at work at a time, beside those that may be waiting for their partitions."""
CANDIDATE = "{{ ti.xcom_pull(task_ids='judge')['candidate'] }}"
RETRAIN_DOC = """\
### {description}

Retrains on the data that is mature at the end of a partition: **input gate** (is the training window fit to be learned
from?) → **train** → **evaluate** (candidate and champion on the same newest rows) → **judge** (the rules of the spec) →
**promote** ({to}, effective from the end of the partition).

* *Nightly*: {schedule}.
* *By hand*: press Trigger, fill in `partition`. The same data gives the same version, and nothing changes.

A candidate that is not good enough is a decision, not a failure: the champion stays. Owner: {owner}. Spec:
`models/{model}/model.yaml`.
"""


def score_dag(spec: ModelSpec) -> DAG:
    """`score_<model>`: plan > input gate > score > output gate > publish."""
    params = {
        "partition": _partition_param(spec),
        "model": Param(
            "as-of",
            type="string",
            title="Version",
            pattern=r"^(as-of|production|[1-9][0-9]*|[0-9]+\.[0-9]+\.[0-9]+)$",
            description="as-of: the version in production when the partition begins. production: the one in production "
            "now. A number, or one like 1.2.0: just that version.",
        ),
        "engine": Param(
            spec.engine.name,
            type="string",
            enum=["auto", "local", "dask", "spark"],
            title="Engine",
            description="What does the work; auto decides by the number of rows.",
        ),
        "assets": Param(
            "each",
            type="string",
            enum=["each", "never"],
            title="Downstream",
            description="each: DAGs that wait for these predictions are told. never: they are not.",
        ),
    }
    with _dag("score", spec, spec.schedules.score, SCORE_DOC, params, _runs_at_once(spec)) as dag:
        publish = EmittingJobOperator(task_id="publish", job="publish", model=spec.model, asset=predictions(spec.model))
        chain(
            *wait_for_partition(spec),
            _job(spec, "plan", "--version", "{{ params.model }}"),
            _job(spec, "input-gate"),
            _job(spec, "score", "--engine", "{{ params.engine }}"),
            _job(spec, "output-gate"),
            publish,
        )
    return dag


def retrain_dag(spec: ModelSpec) -> DAG:
    """`retrain_<model>`: input gate > train > evaluate > judge > [report > approve] > promote."""
    params = {"partition": _partition_param(spec)}
    with _dag("retrain", spec, spec.schedules.retrain, RETRAIN_DOC, params, max_active_runs=1) as dag:
        asks = spec.promotion.approval is not Approval.none and spec.promotion.to is Stage.production
        promote = EmittingJobOperator(
            task_id="promote",
            job="promote",
            model=spec.model,
            asset=champion(spec.model),
            arguments=["--approved-by", APPROVER] if asks else [],
        )
        chain(
            _job(spec, "input-gate", "--for", "train"),
            _job(spec, "train"),
            _job(spec, "evaluate"),
            _job(spec, "judge"),
            *([_report(spec), approve_task(spec, CANDIDATE)] if asks else []),
            promote,
        )
    return dag


def dags_of_all_models(kind: str, build: Callable[[ModelSpec], DAG]) -> Iterator[DAG]:
    """One DAG a model. One that no DAG can be made of gets one that says why, and the others are not disturbed."""
    models = Settings.from_environment().models
    for name in model_names(models):
        try:
            dag = build(load_spec(models, name))
        except (InvalidSpec, Misconfigured) as error:
            dag = _invalid(f"{kind}_{name}", str(error))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this model's, and the file makes those of all
            dag = _invalid(f"{kind}_{name}", f"models/{name}: {type(error).__name__}: {error}")
        yield dag


def _dag(
    kind: str,
    spec: ModelSpec,
    schedule: Schedule | None,
    doc: str,
    params: dict[str, Param],
    max_active_runs: int,
) -> DAG:
    when = "none"
    if schedule:
        when = f"`{schedule.cron}` {spec.source.timezone}, each {spec.source.every} that {schedule.partition} by then"
    end = spec.schedules.end
    return DAG(
        dag_id=f"{kind}_{spec.model}",
        description=spec.description,
        schedule=timetable(spec, schedule),
        start_date=datetime.combine(spec.schedules.start, time(), tzinfo=UTC),
        end_date=datetime.combine(end, time(), tzinfo=UTC) if end else None,
        catchup=spec.schedules.catch_up,
        max_active_runs=max_active_runs,
        tags=["lamplighter", kind, *spec.tags],
        params=params,
        doc_md=doc.format(**{**vars(spec), "schedule": when, "to": spec.promotion.to.value, "late": about_late(spec)}),
        deadline=deadline(spec) if kind == "score" else None,
        default_args=task_defaults(spec),
    )


def _runs_at_once(spec: ModelSpec) -> int:
    """So many that runs which only wait for their partitions keep no other one from being scheduled."""
    schedule = spec.schedules.score
    wait = (schedule.wait if schedule else None) or timedelta(0)
    return AT_ONCE + ceil(wait / timedelta(**{f"{spec.source.every}s": 1}))


def _job(spec: ModelSpec, job: str, *arguments: str) -> JobOperator:
    return JobOperator(task_id=job.replace("-", "_"), job=job, model=spec.model, arguments=arguments)


def _report(spec: ModelSpec) -> JobOperator:
    """What the metric gate found, for the person who has to approve it."""
    return JobOperator(
        task_id="report", job="report", model=spec.model, arguments=["--version", CANDIDATE], partitioned=False
    )


def _partition_param(spec: ModelSpec) -> Param:
    return Param(
        None,
        type=["null", "string"],
        title="Partition",
        pattern=pattern(spec.source.every),
        description=f"Key of the partition, like {EXAMPLE[spec.source.every]}. Schedules and backfills have their own.",
        **({"format": "date"} if spec.source.every is Every.day else {}),
    )


def _invalid(name: str, faults: str) -> DAG:
    from airflow.sdk import task

    with DAG(
        dag_id=file_name(name).replace("+", "_"),
        schedule=None,
        tags=["lamplighter", "invalid-spec"],
        doc_md=f"```\n{faults}\n```",
    ) as dag:

        @task(retries=0)
        def spec() -> None:
            raise AirflowFailException(faults)

        spec()
    return dag
