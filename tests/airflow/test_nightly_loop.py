"""The whole thing, as a user gets it: the demo, its second run, the form in the browser, and what MLflow serves."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from playwright.sync_api import Page, sync_playwright

from jobs.spec_file import load_spec
from lamplighter.airflow_api import AirflowApi

CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PROJECT = Path(__file__).resolve().parents[2]
SCORED = ["2013-03-01", "2013-03-02", "2013-04-01"]


@pytest.fixture(scope="module")
def page(loop: Any) -> Iterator[Page]:
    """A browser, logged in to Airflow as a person would."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=list(CHROMIUM))
        page = browser.new_page()
        page.goto(loop.airflow_url)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", "admin")
        page.keyboard.press("Enter")
        page.wait_for_url("**/")
        yield page
        browser.close()


def test_the_demo_publishes_every_partition_by_the_version_of_its_day(loop: Any) -> None:
    found = loop.status()["models"]["flight_delays"]
    assert list(found["partitions"]) == SCORED
    newest = found["stages"]["production"]
    assert {key: p["version"] for key, p in found["partitions"].items()} == dict.fromkeys(SCORED[:2], 1) | {
        "2013-04-01": newest
    }
    for partition in found["partitions"].values():
        assert partition["rows_in"] == partition["rows_scored"] + partition["rows_rejected"] > 600


def test_the_demo_tells_what_was_decided_and_how_good_the_scores_were(loop: Any) -> None:
    said = " ".join(loop.said.split())
    for words in ("Decisions", "Published partitions", "auc", "in production from", loop.airflow_url, loop.mlflow_url):
        assert words in said


def test_the_demo_again_changes_nothing_and_says_so(loop: Any) -> None:
    before = DeltaTable(loop.home / "tables" / "flight_delays").version()
    began = time.monotonic()
    again = loop.lamplighter(*loop.demo)
    assert again.returncode == 0
    assert again.stdout.count("done before: nothing was changed") == 4
    assert DeltaTable(loop.home / "tables" / "flight_delays").version() == before
    assert time.monotonic() - began < loop.seconds / 4


def test_scoring_a_published_partition_again_leaves_it_as_it_is(loop: Any) -> None:
    table = loop.home / "tables" / "flight_delays"
    before = {p: p.stat().st_mtime_ns for p in table.rglob("*") if p.is_file()}
    with airflow(loop) as api:
        run = finished(api, api.trigger("score_flight_delays", "2013-03-02").dag_run_id)
    assert run.state == "success"
    assert {p: p.stat().st_mtime_ns for p in table.rglob("*") if p.is_file()} == before


def test_the_form_scores_another_partition(loop: Any, page: Page) -> None:
    with airflow(loop) as api:
        run = finished(api, press_trigger(loop, page, "2013-03-08"))
    assert run.state == "success"
    assert loop.status()["models"]["flight_delays"]["partitions"]["2013-03-08"]["version"] == 1


def test_the_form_with_a_partition_before_any_champion_fails_with_one_sentence(loop: Any, page: Page) -> None:
    with airflow(loop) as api:
        run = finished(api, press_trigger(loop, page, "2013-01-15"))
        assert run.state == "failed"
        assert "has no version in production at 2013-01-15" in api.complaint(run)
    assert "2013-01-15" not in loop.status()["models"]["flight_delays"]["partitions"]


def test_the_form_refuses_what_is_no_version(loop: Any) -> None:
    with airflow(loop) as api, pytest.raises(Exception, match="400"):
        api.trigger("score_flight_delays", "2013-03-01", {"model": "the best one"})


def test_assets_tell_of_promotions_and_publications_once(loop: Any) -> None:
    with airflow(loop) as api:
        events = api._get("/assets/events", limit=200)["asset_events"]
    told = [(e["name"], e["extra"].get("partition")) for e in events]
    assert ("champion(flight_delays)", "2013-02-28") in told
    assert [e for e in told if e == ("predictions(flight_delays)", "2013-03-02")] == [
        ("predictions(flight_delays)", "2013-03-02")
    ]


def test_mlflow_predict_gives_the_scores_of_the_nightly_table(loop: Any, tmp_path: Path) -> None:
    features, expected = published(loop, "2013-04-01")
    request = tmp_path / "request.csv"
    request.write_text(features)
    answer = tmp_path / "answer.json"
    command = [sys.executable, "-m", "mlflow", "models", "predict", "-m", "models:/flight_delays@production"]
    options = ["-i", str(request), "-o", str(answer), "-t", "csv", "--env-manager", "local"]
    ran = subprocess.run(command + options, env=tracking(loop), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert json.loads(answer.read_text())["predictions"] == expected


def test_mlflow_serves_the_scores_of_the_nightly_table(loop: Any, tmp_path: Path) -> None:
    features, expected = published(loop, "2013-04-01")
    with serving(loop, tmp_path / "serve.log") as url:
        answer = httpx.post(f"{url}/invocations", json=as_json(features), timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["predictions"] == expected


def test_mlflow_run_trains_the_same_version_from_the_same_data(loop: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mlflow", "run", str(PROJECT), "-e", "train", "--env-manager", "local"]
    parameters = ["-P", "model=flight_delays", "-P", "partition=2013-02-28"]
    options = {"env": tracking(loop), "cwd": tmp_path, "capture_output": True, "text": True}
    ran = subprocess.run(command + parameters, check=False, **options)
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert "flight_delays version 1 was trained on" in ran.stdout + ran.stderr


def test_a_backfill_hands_airflow_just_what_is_missing_and_tells_downstream_once(loop: Any) -> None:
    asked = ("flight_delays", "--from", "2013-03-10", "--to", "2013-03-13")
    here = ("--from", "2013-03-12", "--to", "2013-03-12", "--without-airflow")
    assert loop.lamplighter("backfill", "run", "flight_delays", *here).returncode == 0
    plan = json.loads(loop.lamplighter("backfill", "plan", *asked, "--json").stdout)
    assert [p["state"] for p in plan["partitions"]] == ["missing", "missing", "current", "missing"]
    assert plan["seconds"] > 0
    table = loop.home / "tables" / "flight_delays"
    before = DeltaTable(table).version()
    with airflow(loop) as api:
        runs = {run.dag_run_id for run in api.runs("score_flight_delays")}
        ran = loop.lamplighter("backfill", "run", *asked, "--assets", "once", "--json")
        assert ran.returncode == 0, ran.stderr[-2000:]
        assert [o["partition"] for o in json.loads(ran.stdout)] == ["2013-03-10", "2013-03-11", "2013-03-13"]
        new = [run for run in api.runs("score_flight_delays") if run.dag_run_id not in runs]
        events = api._get("/assets/events", limit=200)["asset_events"]
    assert sorted((run.partition, run.dag_run_id.split("__")[0]) for run in new) == [
        ("2013-03-10", "backfill"),
        ("2013-03-11", "backfill"),
        ("2013-03-13", "manual"),
    ]
    assert DeltaTable(table).version() == before + 3
    told = [e["extra"] for e in events if {"2013-03-10", "2013-03-13"} & set(e["extra"].get("partitions", ()))]
    assert [extra["partitions"] for extra in told] == [["2013-03-10", "2013-03-11", "2013-03-13"]]
    assert not [e for e in events if e["extra"].get("partition") in {"2013-03-10", "2013-03-11", "2013-03-13"}]
    again = loop.lamplighter("backfill", "run", *asked)
    assert "4 current. Nothing is to be scored." in again.stdout


def press_trigger(loop: Any, page: Page, partition: str) -> str:
    """Fill in the form of score_flight_delays as a person does, and return the run's id."""
    page.goto(f"{loop.airflow_url}/dags/score_flight_delays")
    page.get_by_role("button", name="Trigger").first.click()
    form = page.get_by_role("dialog")
    form.locator("input[type=date]").first.fill(partition)
    form.get_by_role("button", name="Trigger").click()
    page.wait_for_url("**/runs/**")
    run = httpx.URL(page.url).path.rsplit("/", 1)[1]
    page.goto("about:blank")  # a page that is kept up to date takes as much of the processor as a job
    return run


def airflow(loop: Any) -> AirflowApi:
    return AirflowApi(loop.airflow_url, "admin", "admin")


def finished(api: AirflowApi, dag_run_id: str) -> Any:
    """The run of score_flight_delays, once it is over."""
    deadline = time.monotonic() + 180
    while True:
        run = next((r for r in api.runs("score_flight_delays") if r.dag_run_id == dag_run_id), None)
        if run is not None and run.ended:
            return run
        assert time.monotonic() < deadline, "the run did not end"
        time.sleep(1)


def published(loop: Any, partition: str) -> tuple[str, list[float]]:
    """The features of a partition as CSV, and its published scores in the same order."""
    rows = pq.read_table(loop.home / "data" / "flights" / f"flight_date={partition}", partitioning=None).to_pylist()
    table = DeltaTable(loop.home / "tables" / "flight_delays").to_pyarrow_table(filters=[("partition", "=", partition)])
    scores = dict(zip(table["flight_id"].to_pylist(), table["score"].to_pylist(), strict=True))
    spec = list(load_spec(PROJECT / "models", "flight_delays").features)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=spec, extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow({name: "" if row[name] is None else as_text(row[name]) for name in spec})
    return out.getvalue(), [scores[row["flight_id"]] for row in rows]


def as_json(features: str) -> dict[str, Any]:
    """The same rows as a JSON request, in which what is missing is null."""
    header, *rows = csv.reader(io.StringIO(features))
    kinds = {name: f.kind for name, f in load_spec(PROJECT / "models", "flight_delays").features.items()}
    data = [
        [
            None if text == "" else (text if kinds[name] == "category" else float(text))
            for name, text in zip(header, row, strict=True)
        ]
        for row in rows
    ]
    return {"dataframe_split": {"columns": header, "data": data}}


def as_text(value: Any) -> str:
    return repr(float(value)) if isinstance(value, int | float) else str(value)


def tracking(loop: Any) -> dict[str, str]:
    """The environment of somebody who has the virtual environment active and knows the registry."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{loop.environment['PATH']}"
    return loop.environment | {"MLFLOW_TRACKING_URI": loop.mlflow_url, "PATH": path}


@contextmanager
def serving(loop: Any, log: Path) -> Iterator[str]:
    """`mlflow models serve` on a free port of loopback; its whole process group is gone afterwards."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/flight_delays@production"]
    options = ["--host", "127.0.0.1", "--port", str(port), "--env-manager", "local"]
    with log.open("wb") as said:
        server = subprocess.Popen(
            command + options, env=tracking(loop), stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 90
        while not answers(url):
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.5)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ping", timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
