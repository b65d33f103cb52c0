"""Promotion and roll back as people do them in Airflow: asked, approved by another, and taken back."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

SETTLED = 3  # an answer within a second of the question is lost, and asked again: the scheduler has not parked the task


class Person:
    """Somebody who is logged in to Airflow's REST API."""

    def __init__(self, url: str, name: str) -> None:
        self.http = httpx.Client(base_url=url, timeout=30)
        token = self.http.post("/auth/token", json={"username": name, "password": name}).json()["access_token"]
        self.http.headers["Authorization"] = f"Bearer {token}"

    def trigger(self, dag: str, partition: str | None = None, **conf: Any) -> str:
        self.http.patch(f"/api/v2/dags/{dag}", json={"is_paused": False}).raise_for_status()
        body = {"logical_date": None, "conf": conf} | ({"partition_key": partition} if partition else {})
        answer = self.http.post(f"/api/v2/dags/{dag}/dagRuns", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["dag_run_id"])

    def run(self, dag: str, run: str) -> tuple[str, dict[str, str]]:
        """The state of a run, and of its tasks."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}"
        tasks = self.http.get(f"{path}/taskInstances").json()["task_instances"]
        return self.http.get(path).json()["state"], {task["task_id"]: task["state"] for task in tasks}

    def wait(self, dag: str, run: str, until: Callable[[str, dict[str, str]], bool]) -> tuple[str, dict[str, str]]:
        deadline = time.monotonic() + 180
        while not until(*(found := self.run(dag, run))):
            assert time.monotonic() < deadline, found
            time.sleep(1)
        return found

    def question(self, dag: str, run: str) -> dict[str, Any]:
        return dict(self.http.get(f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails").json())

    def answer(self, dag: str, run: str, what: str) -> None:
        time.sleep(SETTLED)
        body = {"chosen_options": [what], "params_input": {}}
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"
        self.http.patch(path, json=body).raise_for_status()


@pytest.fixture(scope="module")
def people(loop: Any) -> Iterator[tuple[Person, Person]]:
    found = Person(loop.airflow_url, "admin"), Person(loop.airflow_url, "approver")
    yield found
    for person in found:
        person.http.close()


def asked(state: str, tasks: dict[str, str]) -> bool:
    return tasks.get("approve") == "awaiting_input" or over(state, tasks)


def over(state: str, tasks: dict[str, str]) -> bool:
    return state in {"success", "failed"}


def history(loop: Any, model: str) -> Any:
    import json

    return json.loads(loop.lamplighter("history", model, "--json").stdout)


def test_a_retrained_version_waits_for_a_second_person(loop: Any, people: tuple[Person, Person]) -> None:
    one, other = people
    dag = "retrain_arrival_minutes"
    run = one.trigger(dag, "2013-02-28")
    assert one.wait(dag, run, asked)[0] == "running"
    question = one.question(dag, run)
    assert question["subject"] == "Shall arrival_minutes version 1 go to production?"
    assert "arrival_minutes version 1 becomes the first champion" in question["body"]
    assert "| rmse on the holdout | passed |" in question["body"]
    one.answer(dag, run, "Approve")
    time.sleep(2)
    one.wait(dag, run, lambda state, tasks: asked(state, tasks) and not one.question(dag, run)["response_received"])
    assert history(loop, "arrival_minutes") == []
    other.answer(dag, run, "Approve")
    assert one.wait(dag, run, over)[0] == "success"
    [row] = history(loop, "arrival_minutes")
    assert (row["version"], row["actor"], row["approved_by"]) == (1, "admin", "approver")


def test_a_version_that_is_rejected_stays_out(loop: Any, people: tuple[Person, Person]) -> None:
    one, other = people
    dag = "promote_arrival_minutes"
    run = one.trigger(dag, version="1.0.0", reason="once more, from May on", effective_from="2013-05-01")
    one.wait(dag, run, asked)
    other.answer(dag, run, "Reject")
    state, tasks = one.wait(dag, run, over)
    assert (state, tasks["move"]) == ("success", "skipped")
    assert len(history(loop, "arrival_minutes")) == 1


def test_a_form_without_a_reason_is_refused(people: tuple[Person, Person]) -> None:
    body = {"logical_date": None, "conf": {"version": "1"}}
    answer = people[0].http.post("/api/v2/dags/promote_flight_delays/dagRuns", json=body)
    assert answer.status_code == 400


def test_a_roll_back_returns_to_the_version_before_and_scores_its_partitions_again(
    loop: Any, people: tuple[Person, Person]
) -> None:
    one, _ = people
    dag = "roll_back_flight_delays"
    before = loop.status()["models"]["flight_delays"]
    assert before["partitions"]["2013-04-01"]["version"] == before["stages"]["production"] == 2
    run = one.trigger(dag, reason="scores look odd", rescore=True)
    state, tasks = one.wait(dag, run, over)
    assert (state, tasks["rescore"]) == ("success", "success")
    scoring = f"rescore__2013-04-01__{run}"
    assert one.wait("score_flight_delays", scoring, over)[0] == "success"
    after = loop.status()["models"]["flight_delays"]
    assert after["stages"]["production"] == 1
    assert {key: p["version"] for key, p in after["partitions"].items()} == dict.fromkeys(before["partitions"], 1)
    again = one.trigger(dag, reason="scores look odd", rescore=True)
    state, tasks = one.wait(dag, again, over)
    assert (state, tasks["rescore"]) == ("success", "skipped")
    assert [row["kind"] for row in history(loop, "flight_delays")].count("roll back") == 1
