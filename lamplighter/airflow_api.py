"""Airflow over its REST API: the few calls that we make, as a person would make them in the form."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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
        self._credentials = {"username": user, "password": password}
        self._log_in()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self._client.close()

    def _log_in(self) -> None:
        answer = self._checked(self._sent("POST", "/auth/token", json=self._credentials))
        self._client.headers["Authorization"] = f"Bearer {answer['access_token']}"

    def dag_ids(self) -> set[str]:
        """The DAGs that Airflow knows."""
        return {dag["dag_id"] for dag in self._get("/dags", limit=1000)["dags"]}

    def import_errors(self) -> list[str]:
        """What is wrong with the DAG files."""
        return [str(error["stack_trace"]) for error in self._get("/importErrors")["import_errors"]]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        self._checked(self._ask("PATCH", f"/api/v2/dags/{dag_id}", json={"is_paused": False}))

    def trigger(self, dag_id: str, partition: str | None, conf: dict[str, Any] | None = None) -> DagRun:
        """Start a run for a partition: its key, or None for a DAG without a schedule, which takes it in `conf`."""
        body = {"logical_date": None, "partition_key": partition, "conf": conf or {}}
        return _run(self._checked(self._ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", json=body)))

    def paused(self, dag_id: str) -> bool | None:
        """Whether the DAG is paused; None when there is no such DAG."""
        answer = self._ask("GET", f"/api/v2/dags/{dag_id}")
        return None if answer.status_code == httpx.codes.NOT_FOUND else bool(self._checked(answer)["is_paused"])

    def backfill(
        self,
        dag_id: str,
        first: datetime,
        last: datetime,
        max_active_runs: int,
        *,
        reprocess: str = "failed",
        conf: dict[str, str] | None = None,
    ) -> int:
        """Start Airflow's own backfill of the partitions that begin from `first` to `last`; returns its id.

        Both are included, and are wall-clock times in the zone of the DAG's timetable.
        """
        body = _range(dag_id, first, last, reprocess) | {"max_active_runs": max_active_runs, "dag_run_conf": conf}
        return int(self._checked(self._ask("POST", "/api/v2/backfills", json=body))["id"])

    def backfill_dry_run(self, dag_id: str, first: datetime, last: datetime) -> list[str]:
        """The partitions that the same backfill would run, whatever became of them before."""
        body = _range(dag_id, first, last, "completed")
        found = self._checked(self._ask("POST", "/api/v2/backfills/dry_run", json=body))["backfills"]
        return [str(run["partition_key"]) for run in found]

    def backfill_is_over(self, dag_id: str) -> bool:
        """Whether no backfill of the DAG is at work; Airflow allows one at a time."""
        newest = self._get("/backfills", dag_id=dag_id, limit=1, order_by="-id")["backfills"]
        return all(backfill["completed_at"] is not None for backfill in newest)

    def emit(self, asset: str, extra: dict[str, Any]) -> bool:
        """Emit one event for an asset; False when Airflow does not know the asset, so that nobody waits for it."""
        found = [a for a in self._get("/assets", name_pattern=asset, limit=100)["assets"] if a["name"] == asset]
        if not found:
            return False
        body = {"asset_id": found[0]["id"], "extra": extra}
        self._checked(self._ask("POST", "/api/v2/assets/events", json=body))
        return True

    def run(self, dag_id: str, dag_run_id: str) -> DagRun:
        """A run as it is now."""
        return _run(self._get(f"/dags/{dag_id}/dagRuns/{dag_run_id}"))

    def runs(self, dag_id: str, partition: str | None = None) -> list[DagRun]:
        """The newest hundred runs of a DAG (of one partition, if given), newest first."""
        query = {"limit": 100, "order_by": "-id"} | ({"partition_key_pattern": partition} if partition else {})
        found = [_run(run) for run in self._get(f"/dags/{dag_id}/dagRuns", **query)["dag_runs"]]
        return [run for run in found if partition is None or run.partition == partition]

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
        return self._checked(self._ask("GET", f"/api/v2{path}", params=query))

    def _ask(self, method: str, path: str, **what: Any) -> httpx.Response:
        """The answer to a call; a login that has run out is renewed."""
        answer = self._sent(method, path, **what)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            answer = self._sent(method, path, **what)
        return answer

    def _sent(self, method: str, path: str, **what: Any) -> httpx.Response:
        try:
            return self._client.request(method, path, **what)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(
                f"Airflow does not answer at {self._client.base_url}: {type(error).__name__}. Is it up?"
            ) from error

    @staticmethod
    def _checked(answer: httpx.Response) -> dict[str, Any]:
        if answer.is_error:
            raise Unavailable(
                f"Airflow answered {answer.status_code} to {answer.request.url.path}: {answer.text[:300]}"
            )
        content: dict[str, Any] = answer.json()
        return content


def _range(dag_id: str, first: datetime, last: datetime, reprocess: str) -> dict[str, Any]:
    bounds = {"from_date": f"{first:%Y-%m-%dT%H:%M:%S}Z", "to_date": f"{last:%Y-%m-%dT%H:%M:%S}Z"}
    return {"dag_id": dag_id, **bounds, "reprocess_behavior": reprocess}


def _run(found: dict[str, Any]) -> DagRun:
    return DagRun(found["dag_id"], found["dag_run_id"], found.get("partition_key"), found["state"])
