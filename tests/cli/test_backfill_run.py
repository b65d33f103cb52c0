"""A backfill through Airflow, by a twin of its API: whatever happens, downstream learns what was published."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.errors import Unavailable
from jobs.partition import Calendar, Every
from lamplighter import backfill_run
from lamplighter.airflow_api import AirflowApi, DagRun
from lamplighter.backfill_run import Assets, run_in_airflow

KEYS = ["2026-01-01", "2026-01-03", "2026-01-05"]


@dataclass
class Airflow:
    """Runs end after `polls` looks; `trouble` is called at each of them."""

    polls: int = 2
    failed: tuple[str, ...] = ()
    looks: dict[str, int] = field(default_factory=dict)
    events: list[list[str]] = field(default_factory=list)
    most: int = 0
    trouble: Any = print
    at_work: bool = True

    def paused(self, _: str) -> bool:
        return False

    def backfill_is_over(self, _: str) -> bool:
        return True

    def trigger(self, dag_id: str, partition: str | None, conf: dict[str, Any]) -> DagRun:
        key = partition or conf["partition"]
        self.trouble(f"trigger {key}")
        self.looks[key] = 0
        self.most = max(self.most, sum(looks < self.polls for looks in self.looks.values()))
        return DagRun(dag_id, f"run {key}", key, "queued")

    def run(self, dag_id: str, dag_run_id: str) -> DagRun:
        key = dag_run_id.removeprefix("run ")
        self.trouble(f"look {key}")
        self.looks[key] += 1
        over = self.looks[key] >= self.polls
        return DagRun(dag_id, dag_run_id, key, ("failed" if key in self.failed else "success") if over else "running")

    def running_tasks(self, _: DagRun) -> list[str]:
        return ["score"] if self.at_work else []

    def complaint(self, _: DagRun) -> str:
        return "score: no"

    def emit(self, _: str, extra: dict[str, Any]) -> bool:
        self.events.append(extra["partitions"])
        return True


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_run, "POLL_SECONDS", 0.0)


def hand(airflow: Airflow, scheduled: bool = True, parallel: int = 4, assets: Assets = Assets.once) -> list[Any]:
    calendar = Calendar(Every.day)
    spec: Any = SimpleNamespace(
        schedules=SimpleNamespace(score=object() if scheduled else None), source=SimpleNamespace(calendar=calendar)
    )
    plan: Any = SimpleNamespace(model="toys", selector="as-of", chosen=[SimpleNamespace(partition=k) for k in KEYS])
    twin: Any = airflow
    return run_in_airflow(twin, spec, plan, assets, parallel, lambda _: None)


@pytest.mark.parametrize(
    ("assets", "events"), [(Assets.once, [KEYS[:1] + KEYS[2:]]), (Assets.never, []), (Assets.each, [])]
)
def test_one_event_tells_what_was_published(assets: Assets, events: list[list[str]]) -> None:
    airflow = Airflow(failed=(KEYS[1],))
    assert [outcome.done for outcome in hand(airflow, assets=assets)] == [True, False, True]
    assert airflow.events == events


@pytest.mark.parametrize("error", [Unavailable("503"), KeyboardInterrupt()])
def test_what_was_published_before_it_ends_in_between_is_told(error: BaseException) -> None:
    def trouble(what: str) -> None:
        if what == f"trigger {KEYS[2]}":
            raise error

    airflow = Airflow(trouble=trouble)
    with pytest.raises(type(error)):
        hand(airflow)
    assert airflow.events == [KEYS[:2]]


def test_an_airflow_that_does_not_answer_for_a_moment_is_asked_again() -> None:
    asked = 0

    def trouble(what: str) -> None:
        nonlocal asked
        asked += what.startswith("look")
        if 2 <= asked <= 6:
            raise Unavailable("no answer")

    airflow = Airflow(trouble=trouble)
    assert all(outcome.done for outcome in hand(airflow))
    assert airflow.events == [KEYS]


def test_an_airflow_that_stays_silent_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backfill_run, "SILENT_SECONDS", 0.0)

    def trouble(what: str) -> None:
        if what == f"look {KEYS[1]}":
            raise Unavailable("no answer")

    airflow = Airflow(trouble=trouble)
    with pytest.raises(Unavailable, match="no answer"):
        hand(airflow)
    assert airflow.events == [KEYS[:1]]


@pytest.mark.parametrize("at_work", [True, False])
def test_a_partition_that_takes_long_is_not_stuck(monkeypatch: pytest.MonkeyPatch, at_work: bool) -> None:
    monkeypatch.setattr(backfill_run, "STUCK_SECONDS", -1.0)
    airflow = Airflow(polls=9, at_work=at_work)
    if at_work:
        assert all(outcome.done for outcome in hand(airflow))
    else:
        with pytest.raises(Unavailable, match="Nothing of score_toys has moved for an hour"):
            hand(airflow)


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_model_without_a_schedule_has_so_many_runs_at_a_time(parallel: int) -> None:
    airflow = Airflow()
    assert all(outcome.done for outcome in hand(airflow, scheduled=False, parallel=parallel))
    assert airflow.most == parallel


@pytest.fixture
def forgetful() -> Iterator[tuple[str, list[str]]]:
    """A server that takes each of its tokens once."""
    calls: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self._answer(200, {"access_token": f"token {len(calls)}"})

        def do_GET(self) -> None:
            fresh = self.headers["Authorization"].removeprefix("Bearer ") not in self.server.taken  # type: ignore[attr-defined]
            self.server.taken.add(self.headers["Authorization"].removeprefix("Bearer "))  # type: ignore[attr-defined]
            self._answer(200 if fresh else 401, {"dags": [{"dag_id": "score_toys"}]})

        def _answer(self, code: int, content: dict[str, Any]) -> None:
            calls.append(f"{self.command} {self.path.split('?')[0]} {code}")
            body = json.dumps(content).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.taken = set()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", calls
        server.shutdown()
        thread.join()


def test_a_login_that_has_run_out_is_renewed_and_a_server_that_is_gone_is_a_sentence(
    forgetful: tuple[str, list[str]],
) -> None:
    url, calls = forgetful
    with AirflowApi(url, "ada", "secret") as api:
        assert [api.dag_ids(), api.dag_ids()] == [{"score_toys"}] * 2
    asked = ["POST /auth/token 200", "GET /api/v2/dags 200", "GET /api/v2/dags 401"]
    assert calls == [*asked, *asked[:2]]
    with pytest.raises(
        Unavailable, match=r"Airflow does not answer at http://127.0.0.1:9/?: ConnectError\. Is it up\?"
    ):
        AirflowApi("http://127.0.0.1:9", "ada", "secret")
