"""From a spec to the DAGs that a person triggers: promote a version, and roll back."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, chain, task

from jobs.spec import ModelSpec
from lamplighter_airflow.approval import APPROVER, ApprovePromotion
from lamplighter_airflow.assets import EmittingJobOperator, champion
from lamplighter_airflow.operator import JobOperator, task_defaults
from model_registry.requests import Approval

VERSION = r"^([1-9][0-9]*|[0-9]+\.[0-9]+\.[0-9]+)$"
DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
PROMOTE_DOC = """\
### {description}

Moves a version to a stage: **report** (what its metric gate found) → {approve}**move**. Press Trigger, fill in
`Version` and `Reason`.

* *production*: it scores partitions from `From` on (now, if that is empty). Its gate must be open, unless you override
  it, with a reason and an end.
* *staging*: it waits there. *archived*: nobody returns to it.
{people}
The ledger keeps who, when, why. `lamplighter history {model}` shows it. Owner: {owner}.
"""
APPROVAL_DOC = """
The spec wants a person to agree: the run waits in *Required Actions* until somebody approves or rejects; the report is
what they read. {two}
"""
TWO_DOC = "It must be another person than the one who triggered the run: their own approval only asks again."
ROLL_BACK_DOC = """\
### {description}

Returns to the version that was in production before: **roll back** → **partitions** (those that readers still see by
the withdrawn version) → **rescore** (a run of `score_{model}` for each, if `Score again` is on).

Press Trigger and say why. It counts from when the withdrawn version began to be in production. The withdrawn version is
not promoted again by itself. Triggered again it changes nothing; to go further back, name the version to withdraw.
Owner: {owner}.
"""


class MoveOperator(EmittingJobOperator):
    """Moves the version of the form to the stage of the form."""

    def execute(self, context: Any) -> dict[str, Any]:
        """See `JobOperator.execute`."""
        form = context["params"]
        self.job = {"production": "promote", "staging": "challenge", "archived": "archive"}[form["stage"]]
        asked = {"--version": form["version"], "--reason": form["reason"]}
        if form["stage"] == "production":
            asked |= {"--from": form["effective_from"], "--until": form["until"]}
            self.arguments += ["--override"] * bool(form["override"])
        else:
            self.arguments = []
        self.arguments += [f"{option}={value}" for option, value in asked.items() if value]
        return super().execute(context)


def promote_dag(spec: ModelSpec) -> DAG:
    """`promote_<model>`: report > [approve] > move."""
    params = {
        "version": Param(
            type="string", pattern=VERSION, title="Version", description="Its number, or its semantic version."
        ),
        "reason": Param(type="string", minLength=3, maxLength=2000, title="Reason", description="Why, for the ledger."),
        "stage": Param("production", type="string", enum=["production", "staging", "archived"], title="Stage"),
        "effective_from": Param(
            None,
            type=["null", "string"],
            format="date",
            pattern=DAY,
            title="From",
            description="First partition that it scores; empty: now.",
        ),
        "override": Param(
            default=False, type="boolean", title="Override the gate", description="Although its gate is closed."
        ),
        "until": Param(
            None,
            type=["null", "string"],
            format="date",
            pattern=DAY,
            title="Until",
            description="When an override ends; from then on the version before is in production again.",
        ),
    }
    asks = spec.promotion.approval is not Approval.none
    two = spec.promotion.approval is Approval.two_persons
    people = APPROVAL_DOC.format(two=TWO_DOC if two else "") if asks else ""
    with _dag("promote", spec, PROMOTE_DOC, params, approve="**approve** → " if asks else "", people=people) as dag:
        report = JobOperator(
            task_id="report",
            job="report",
            model=spec.model,
            arguments=["--version", "{{ params.version }}"],
            partitioned=False,
        )
        agreed = ["--approved-by", APPROVER] if asks else []
        move = MoveOperator(
            task_id="move",
            job="promote",
            model=spec.model,
            asset=champion(spec.model),
            arguments=agreed,
            partitioned=False,
        )
        chain(*([report, approve_task(spec, "{{ params.version }}"), move] if asks else [report, move]))
    return dag


def roll_back_dag(spec: ModelSpec) -> DAG:
    """`roll_back_<model>`: roll back > partitions > rescore."""
    params = {
        "reason": Param(type="string", minLength=3, maxLength=2000, title="Reason", description="Why, for the ledger."),
        "withdraw": Param(
            None,
            type=["null", "string"],
            pattern=VERSION,
            title="Withdraw",
            description="The version to take out; empty: the one in production.",
        ),
        "rescore": Param(
            default=False,
            type="boolean",
            title="Score again",
            description="Score the partitions that readers see by the withdrawn version again.",
        ),
    }
    with _dag("roll_back", spec, ROLL_BACK_DOC, params) as dag:
        roll_back = EmittingJobOperator(
            task_id="roll_back",
            job="roll-back",
            model=spec.model,
            asset=champion(spec.model),
            arguments=["--reason={{ params.reason }}", "--withdraw={{ params.withdraw or '' }}"],
            partitioned=False,
        )
        TriggerDagRunOperator.partial(
            task_id="rescore", trigger_dag_id=f"score_{spec.model}", logical_date=None, skip_when_already_exists=True
        ).expand_kwargs(_partitions(roll_back.output))
    return dag


@task(task_id="partitions")
def _partitions(done: dict[str, Any], dag_run: Any = None, params: Any = None) -> list[dict[str, Any]]:
    """What to trigger: a run of the scoring DAG for each partition, or nothing."""
    if not params["rescore"]:
        return []
    return [
        {"conf": {"partition": key}, "trigger_run_id": f"rescore__{key}__{dag_run.run_id}"}
        for key in done["partitions"]
    ]


def approve_task(spec: ModelSpec, version: str) -> ApprovePromotion:
    """The task that waits for a person; `version` is a template."""
    two = spec.promotion.approval is Approval.two_persons
    return ApprovePromotion(
        task_id="approve", subject=f"Shall {spec.model} version {version} go to production?", two_persons=two
    )


def _dag(kind: str, spec: ModelSpec, doc: str, params: dict[str, Param], **words: str) -> DAG:
    return DAG(
        dag_id=f"{kind}_{spec.model}",
        description=spec.description,
        schedule=None,
        start_date=datetime.combine(spec.schedules.start, time(), tzinfo=UTC),
        max_active_runs=1,
        tags=["lamplighter", kind, *spec.tags],
        params=params,
        doc_md=doc.format(**{**vars(spec), **words}),
        default_args=task_defaults(spec),
    )
