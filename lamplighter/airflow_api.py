"""Airflow over its REST API: the few calls that the demo makes, as a person would make them in the form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import httpx

from jobs.errors import Unavailable

ENDED = {"success", "failed"}


@dataclass(frozen=True)
class DagRun:
    """A run of a DAG for a partition, as it is now."""

    dag_id: str
    dag_run_id: str
    partition: str | None
    state: str

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.state in ENDED


class AirflowApi:
    """A session with Airflow, logged in as a user. Raises Unavailable when Airflow does not do what it is asked."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=30)
        answer = self._client.post("/auth/token", json={"username": user, "password": password})
        token = self._checked(answer)["access_token"]
        self._client.headers["Authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._client.close()

    def dag_ids(self) -> set[str]:
        """The DAGs that Airflow knows."""
        return {dag["dag_id"] for dag in self._get("/dags", limit=1000)["dags"]}

    def import_errors(self) -> list[str]:
        """What is wrong with the DAG files."""
        return [str(error["stack_trace"]) for error in self._get("/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self._checked(self._client.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": False}))

    def trigger(self, dag_id: str, partition: str, conf: dict[str, Any] | None = None) -> DagRun:
        """Start a run for a partition."""
        body = {"logical_date": None, "partition_key": partition, "conf": conf or {}}
        return _run(self._checked(self._client.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)))

    def backfill(self, dag_id: str, first: str, last: str, max_active_runs: int) -> int:
        """Start Airflow's own backfill of partitions `first` to `last`, both included; returns its id."""
        body = {
            "dag_id": dag_id,
            "from_date": f"{first}T00:00:00Z",
            "to_date": f"{last}T00:00:00Z",
            "max_active_runs": max_active_runs,
            "reprocess_behavior": "failed",
        }
        return int(self._checked(self._client.post("/api/v2/backfills", json=body))["id"])

    def runs(self, dag_id: str) -> list[DagRun]:
        """The newest hundred runs of a DAG, newest first."""
        return [_run(r) for r in self._get(f"/dags/{dag_id}/dagRuns", limit=100, order_by="-run_after")["dag_runs"]]

    def running_tasks(self, run: DagRun) -> list[str]:
        """The tasks of a run that are at work now."""
        return [t["task_id"] for t in self._tasks(run) if t["state"] in {"running", "up_for_retry", "restarting"}]

    def complaint(self, run: DagRun) -> str:
        """Why a run failed: the last error in the log of its first failed task."""
        for task in self._tasks(run):
            if task["state"] != "failed":
                continue
            path = (
                f"/dags/{run.dag_id}/dagRuns/{run.dag_run_id}/taskInstances/{task['task_id']}/logs/{task['try_number']}"
            )
            lines = self._get(path).get("content", [])
            errors = [line["event"] for line in lines if isinstance(line, dict) and line.get("level") == "error"]
            said = (
                next((text for text in errors if text.startswith("lamplighter: ")), None) or (errors or ["no error"])[0]
            )
            return f"{task['task_id']}: {said.removeprefix('lamplighter: ')}"
        return "no task of it failed"

    def _tasks(self, run: DagRun) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._get(f"/dags/{run.dag_id}/dagRuns/{run.dag_run_id}/taskInstances")[
            "task_instances"
        ]
        return found

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return self._checked(self._client.get(f"/api/v2{path}", params=query))

    @staticmethod
    def _checked(answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise Unavailable(
                f"Airflow answered {answer.status_code} to {answer.request.url.path}: {answer.text[:300]}"
            )
        content: dict[str, Any] = answer.json()
        return content


def _run(found: dict[str, Any]) -> DagRun:
    return DagRun(found["dag_id"], found["dag_run_id"], found.get("partition_key"), found["state"])
