"""Waiting for a person: the report of the metric gate is what they read, and the spec says whether they must be two."""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator

# a template for the name of the person who answered, empty when nobody was asked
APPROVER = "{{ ((ti.xcom_pull(task_ids='approve') or {}).get('responded_by_user') or {}).get('name', '') }}"


class ApprovePromotion(ApprovalOperator):
    """Waits, without a worker slot, until a person approves or rejects; asks nobody where nothing is to be promoted.

    With `two_persons`, the answer of the person who triggered the run is not taken, and the question is asked again.
    """

    def __init__(self, *, two_persons: bool, **kwargs: Any) -> None:
        super().__init__(body="{{ ti.xcom_pull(task_ids='report')['markdown'] }}", **kwargs)
        self.two_persons = two_persons

    def execute(self, context: Any) -> Any:
        """Ask, unless the run puts no version into production."""
        judged = context["ti"].xcom_pull(task_ids="judge") or {}
        if judged.get("action") == "keep" or context["params"].get("stage", "production") != "production":
            self.log.info("Nothing is to be put into production: nobody is asked.")
            return None
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Take the answer, or ask again."""
        requester = getattr(context["dag_run"], "triggering_user_name", None)
        answered = (event.get("responded_by_user") or {}).get("name")
        approves = self.APPROVE in (event.get("chosen_options") or ())
        if self.two_persons and approves and requester is not None and answered == requester:
            self.log.warning("%s asked for this and cannot approve it alone: another person is asked.", requester)
            return self.execute(context)
        return super().execute_complete(context, event)
