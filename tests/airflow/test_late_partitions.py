"""A late partition is waited for without a worker's slot; a deadline that is missed raises an alert."""

import asyncio
import json
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.serialization.decoders import decode_deadline_alert
from airflow.serialization.encoders import encode_deadline_alert
from deltalake import DeltaTable

from jobs import alert as alerts
from jobs.errors import Unavailable
from jobs.rescore import score_partition
from jobs.table import predictions_path
from lamplighter_airflow.deadline import PartitionDeadline, alert, deadline
from lamplighter_airflow.readiness import PartitionReadyTrigger, WaitForPartition, about_late, wait_for_partition

DAY = "2026-01-16"
SCHEDULES = """\
schedules:
  score: {cron: "0 2 * * *", partition: begins, wait: 6h, deadline: "06:00"}
"""


@pytest.fixture
def nightly(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A world whose model has a schedule, a marker, a wait and a deadline; the environment names it."""
    spec = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    spec = spec.replace("every: day}", "every: day, ready: {marker: _DONE}}") + SCHEDULES
    open_shop.write_model(spec=spec)
    monkeypatch.setenv("LAMPLIGHTER_HOME", str(open_shop.settings.home))
    monkeypatch.setenv("LAMPLIGHTER_MODELS", str(open_shop.settings.models))
    return open_shop


def context(kind: str, run_after: datetime) -> dict[str, Any]:
    run = SimpleNamespace(partition_key=DAY, run_type=kind, run_after=run_after)
    return {"dag_run": run, "params": {"partition": None}}


def task(shop: Any) -> WaitForPartition:
    (found,) = wait_for_partition(shop.job(DAY).spec)
    return found


def events(trigger: PartitionReadyTrigger) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [event.payload async for event in trigger.run()]

    return asyncio.run(collect())


def test_a_partition_that_is_there_is_not_waited_for(nightly: Any) -> None:
    (nightly.sales(DAY) / "_DONE").touch()
    assert task(nightly).execute(context("scheduled", datetime.now(UTC))) == f"{DAY} is ready."


def test_a_scheduled_run_gives_its_slot_back_and_waits_from_its_tick_on(nightly: Any) -> None:
    tick = datetime(2026, 1, 16, 2, tzinfo=UTC)
    with pytest.raises(TaskDeferred) as deferred:
        task(nightly).execute(context("scheduled", tick))
    path, kept = deferred.value.trigger.serialize()
    assert path == "lamplighter_airflow.readiness.PartitionReadyTrigger"
    assert datetime.fromtimestamp(kept["until"], UTC) == tick + timedelta(hours=6)
    assert PartitionReadyTrigger(**kept).serialize() == (path, kept)


@pytest.mark.parametrize("kind", ["manual", "backfill"])
def test_runs_of_another_kind_go_on_and_let_the_plan_say_what_is_missing(nightly: Any, kind: str) -> None:
    said = task(nightly).execute(context(kind, datetime.now(UTC)))
    assert "its marker _DONE is not there; only scheduled runs wait" in said


def test_the_trigger_fires_once_the_marker_is_there(nightly: Any) -> None:
    trigger = PartitionReadyTrigger(model="toys", partition=DAY, until=time.time() + 60, poll_seconds=0.05)

    async def deliver_later() -> list[dict[str, Any]]:
        async def collect() -> list[dict[str, Any]]:
            return [event.payload async for event in trigger.run()]

        waiting = asyncio.create_task(collect())
        await asyncio.sleep(0.3)
        assert not waiting.done()
        (nightly.sales(DAY) / "_DONE").touch()
        return await waiting

    assert asyncio.run(deliver_later()) == [{"partition": DAY, "ready": True, "lacks": None}]
    assert task(nightly).resume({}, {"partition": DAY, "ready": True, "lacks": None}) == f"{DAY} is ready."


def test_who_waited_in_vain_fails_for_good_and_says_for_what(nightly: Any) -> None:
    (event,) = events(PartitionReadyTrigger(model="toys", partition=DAY, until=time.time() + 0.2, poll_seconds=0.05))
    assert event["ready"] is False
    with pytest.raises(AirflowFailException, match=f"{DAY} was waited for in vain: its marker _DONE is not there"):
        task(nightly).resume({}, event)


def test_without_a_wait_there_is_no_such_task_and_no_deadline(open_shop: Any) -> None:
    spec = open_shop.job(DAY).spec
    assert (wait_for_partition(spec), deadline(spec), about_late(spec)) == ([], None, "")


def test_a_deadline_is_the_first_such_time_after_the_tick(nightly: Any) -> None:
    found = deadline(nightly.job(DAY).spec)
    assert found is not None
    at = found.reference.at(DAY, datetime(2026, 1, 16, 3, tzinfo=UTC))
    assert at == datetime(2026, 1, 16, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "partition", "expected"),
    [
        ("America/New_York", "2026-03-07", "2026-03-08T10:00"),  # the clocks go forward at 02:00
        ("America/New_York", "2026-10-31", "2026-11-01T11:00"),  # and back
        ("Asia/Kathmandu", "2026-03-07", "2026-03-08T00:15"),
    ],
)
def test_a_deadline_is_on_the_clock_of_the_zone(zone: str, partition: str, expected: str) -> None:
    reference = PartitionDeadline("30 2 * * *", "day", zone, "06:00", ended=True)
    assert reference.at(partition, datetime(2026, 1, 1, tzinfo=UTC)) == datetime.fromisoformat(expected + "+00:00")


def test_a_deadline_before_the_tick_is_the_next_day() -> None:
    reference = PartitionDeadline("0 22 * * *", "day", "UTC", "06:00")
    found = reference.at("2026-03-07", datetime(2026, 1, 1, tzinfo=UTC))
    assert found == datetime(2026, 3, 8, 6, tzinfo=UTC)


def test_a_deadline_that_is_old_news_alerts_nobody(nightly: Any) -> None:
    reference = PartitionDeadline("0 2 * * *")
    assert reference.at(DAY, datetime(2026, 1, 17, 5, tzinfo=UTC)) == datetime(2026, 1, 16, 6, tzinfo=UTC)
    assert reference.at(DAY, datetime(2026, 1, 17, 7, tzinfo=UTC)) is None


def test_a_deadline_survives_airflows_database(nightly: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow import plugins_manager

    known = {"lamplighter_airflow.deadline.PartitionDeadline": PartitionDeadline}
    monkeypatch.setattr(plugins_manager, "get_deadline_references_plugins", lambda: known)
    found = deadline(nightly.job(DAY).spec)
    assert found is not None
    encoded = json.loads(json.dumps(encode_deadline_alert(found)))
    again = decode_deadline_alert(encoded)
    assert again.reference.inner_ref.serialize_reference() == found.reference.serialize_reference()
    assert found.callback.path == "lamplighter_airflow.deadline.alert"


def missed() -> str:
    return asyncio.run(
        alert("toys", {"dag_run": {"partition_key": DAY}, "deadline": {"deadline_time": "2026-01-16 06:00"}})
    )


def test_a_missed_deadline_runs_the_command_with_the_alert(
    nightly: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = tmp_path / "alert.json"
    monkeypatch.setenv("LAMPLIGHTER_ALERT_COMMAND", f"tee '{said}'")
    assert "toys 2026-01-16 is not published, and was to be by 2026-01-16 06:00" in missed()
    content = json.loads(said.read_text())
    assert (content["kind"], content["model"], content["partition"]) == ("deadline", "toys", DAY)
    assert [record.levelname for record in caplog.records] == ["ERROR"]


def test_a_partition_that_was_published_meanwhile_is_no_alert(
    nightly: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (nightly.sales(DAY) / "_DONE").touch()
    score_partition(nightly.job(DAY))
    monkeypatch.setenv("LAMPLIGHTER_ALERT_COMMAND", f"touch '{tmp_path / 'called'}'")
    assert missed() == "toys 2026-01-16 is published by version 1: no alert."
    assert not (tmp_path / "called").exists()
    DeltaTable(str(predictions_path(nightly.settings, nightly.job(DAY).spec))).delete("toy_id like '%-7'")
    said = missed()
    assert said.startswith("toys 2026-01-16 is not what version 1 published any more: score it again. ")
    assert (tmp_path / "called").exists()


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({alerts.COMMAND: "no-such-program"}, "could not be run: FileNotFoundError"),
        ({alerts.COMMAND: f"{sys.executable} -c 'raise SystemExit(3)'"}, "ended with exit code 3"),
        ({alerts.COMMAND: "'open quote"}, "could not be run: ValueError"),
        ({alerts.URL: "http://127.0.0.1:9/"}, "does not answer: ConnectError"),
    ],
)
def test_what_does_not_work_about_an_alert_is_said_and_stops_nothing(variables: dict[str, str], says: str) -> None:
    (fault,) = alerts.send(alerts.Alert("deadline", "toys", DAY, "late"), variables)
    assert says in fault


def test_an_address_is_posted_the_alert(monkeypatch: pytest.MonkeyPatch) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(httpx.codes.NO_CONTENT)
            self.end_headers()

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        assert alerts.send(alerts.Alert("deadline", "toys", DAY, "late"), {alerts.URL: url}) == []
        thread.join()
    assert got == [{"kind": "deadline", "model": "toys", "partition": DAY, "message": "late"}]


def test_a_source_that_does_not_answer_for_a_moment_is_waited_for(
    nightly: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []

    def look(*_: Any) -> str | None:
        looks.append(1)
        if len(looks) < 3:
            raise Unavailable("The database does not answer.")
        return None

    monkeypatch.setattr("lamplighter_airflow.readiness.source_waiting_for", look)
    with pytest.raises(TaskDeferred):
        task(nightly).execute(context("scheduled", datetime.now(UTC)))
    (event,) = events(PartitionReadyTrigger(model="toys", partition=DAY, until=time.time() + 60, poll_seconds=0.01))
    assert event == {"partition": DAY, "ready": True, "lacks": None}
    assert len(looks) == 3


@pytest.mark.parametrize("partition", ["2026-02-30", DAY])
def test_what_waiting_does_not_mend_ends_the_wait(nightly: Any, partition: str) -> None:
    model = "toys" if partition != DAY else "gone"
    (event,) = events(PartitionReadyTrigger(model=model, partition=partition, until=time.time() + 60))
    assert event["ready"] is False
    with pytest.raises(AirflowFailException, match=r"is no partition key|There is no model 'gone'"):
        task(nightly).resume({}, event)
    waiting = WaitForPartition(model=model, seconds=60)
    run = context("scheduled", datetime.now(UTC))
    run["dag_run"].partition_key = partition
    with pytest.raises(AirflowFailException, match=r"is no partition key|There is no model 'gone'"):
        waiting.execute(run)


@pytest.mark.parametrize("broken", ["spec", "table"])
def test_an_alert_is_sent_also_when_nobody_can_tell_whether_it_is_published(
    nightly: Any, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    monkeypatch.setattr("jobs.alert.send", lambda alert, _: sent.append(alert))
    if broken == "spec":
        nightly.write_model("model: toys\n")
    else:
        monkeypatch.setattr("jobs.as_published.AsPublished", lambda *_: 1 / 0)
    said = alerts.partition_is_late("toys", DAY, "06:00")
    assert said.startswith(
        f"toys {DAY} is not published, and was to be by 06:00: look at score_toys in Airflow. Whether it is"
    )
    assert [alert.message for alert in sent] == [said]
