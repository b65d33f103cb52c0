"""What goes wrong on an engine: the function's own errors arrive as they were raised, the engine's own are named."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from signal import SIGKILL

import psutil
import pytest
from clusters import spark_cluster
from distributed import LocalCluster

import jobs.engines.dask as dask_engine
import jobs.engines.spark as spark_engine
from jobs.engines.dask import DaskEngine
from jobs.engines.engine import Engine
from jobs.engines.local import LocalEngine
from jobs.engines.spark import SparkEngine, find_java
from jobs.errors import Misconfigured, Rejected, Unavailable
from model_registry.evidence import Check, GateReport

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets that Dask and py4j close in their own time
ENGINES = {
    "local": LocalEngine,
    "dask": DaskEngine,
    "dask-threads": partial(DaskEngine, threads=True),
    "spark": SparkEngine,
}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ENGINES[request.param](2) as running:
        yield running


def fill_the_disk(number: int) -> int:
    raise OSError(28, f"No space left for {number}")


def close_a_gate(number: int) -> int:
    raise Rejected("closed", GateReport("gate", str(number), (Check("c", passed=False, observed=1, expected="2"),)))


def return_an_error(number: int) -> Exception:
    return ValueError(number)


def raise_what_cannot_travel(number: int) -> int:
    raise type("Odd", (Exception,), {"__reduce__": lambda self: 1 / 0})(f"odd {number}")


def die(number: int) -> int:
    os._exit(3)


# pickled by value: the workers of a cluster do not know this file
for function in (fill_the_disk, close_a_gate, return_an_error, raise_what_cannot_travel, die):
    function.__module__ = "__main__"


def test_an_error_of_the_system_keeps_its_kind_and_number(engine: Engine) -> None:
    with pytest.raises(OSError, match="No space left for 7") as caught:
        list(engine.map(fill_the_disk, [7]))
    assert caught.value.errno == 28


def test_a_rejection_brings_its_report(engine: Engine) -> None:
    with pytest.raises(Rejected, match="closed") as caught:
        list(engine.map(close_a_gate, [7]))
    assert caught.value.report is not None
    assert caught.value.report.subject == "7"


def test_an_error_that_is_returned_is_a_result(engine: Engine) -> None:
    [found] = engine.map(return_an_error, [7])
    assert isinstance(found, ValueError)


def test_an_error_that_cannot_travel_is_an_error_all_the_same(engine: Engine) -> None:
    with pytest.raises(Exception, match=r"odd 7|pickle|Odd"):
        list(engine.map(raise_what_cannot_travel, [7]))


@pytest.mark.parametrize(("name", "says"), [("dask", "Dask workers died"), ("spark", "Spark lost its workers")])
def test_workers_that_die_are_unavailable(name: str, says: str) -> None:
    with pytest.raises(Unavailable, match=says), ENGINES[name](2) as running:
        list(running.map(die, [1]))


def test_a_cluster_that_cannot_be_closed_hides_no_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    close = LocalCluster.close

    def stumble(cluster: LocalCluster) -> None:
        close(cluster)
        raise AssertionError("can only join a started process")

    monkeypatch.setattr(LocalCluster, "close", stumble)
    with pytest.raises(Unavailable, match="out of luck"), DaskEngine(1, threads=True):
        raise Unavailable("out of luck")
    assert "left to end with this process: can only join a started process." in caplog.text


def test_java_is_looked_for_where_spark_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java() is None
    with pytest.raises(Misconfigured, match="needs Java 17 or 21"), SparkEngine(1):
        pass


@pytest.mark.parametrize("address", ["here", "tcp://127.0.0.1:port", "tcp://", "tcp://[", "tcp://here"])
def test_what_is_no_address_of_a_scheduler_is_misconfigured(address: str) -> None:
    with pytest.raises(Misconfigured, match="is no address of a Dask scheduler"), DaskEngine(1, address):
        pass


def test_what_is_no_address_of_a_master_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="is no address of a Spark master"), SparkEngine(1, "spark://here:port"):
        pass


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def scheduler_alone(tmp_path: Path) -> Iterator[str]:
    """The address of a Dask scheduler, a process of its own, that has no worker."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=tmp_path, start_new_session=True)
    try:
        deadline = time.monotonic() + 60
        while not answers(port):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield f"tcp://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, SIGKILL)
        process.wait()


def test_a_scheduler_without_workers_is_not_waited_for_for_ever(
    scheduler_alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_engine, "PATIENCE", 1)
    with DaskEngine(1, scheduler_alone) as running:
        assert list(running.map(close_a_gate, [])) == []
        with pytest.raises(Unavailable, match=r"The Dask scheduler at tcp://127.0.0.1:\d+ has no worker"):
            list(running.map(close_a_gate, [1]))


def test_a_master_without_workers_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark_engine, "PATIENCE", 2)
    monkeypatch.setattr(spark_engine, "LOOK", 0.5)
    with (
        spark_cluster(tmp_path, workers=0) as master,
        SparkEngine(2, master) as engine,
        pytest.raises(Unavailable, match=f"The Spark master {master} has given no worker for 2 s: start some"),
    ):
        list(engine.map(abs, [1, 2]))


@pytest.mark.parametrize("after", [0, 1])
def test_workers_of_our_own_that_do_not_come_back_are_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr(dask_engine, "LOST", 1)
    with DaskEngine(1) as running:
        results = running.map(return_an_error, list(range(after)))
        assert len(list(results)) == after
        running._cluster.scale(0)
        with pytest.raises(Unavailable, match="All Dask workers died and did not come back"):
            list(running.map(return_an_error, [1]))


def test_a_scheduler_that_goes_away_is_unavailable(scheduler_alone: str) -> None:
    port = int(scheduler_alone.rpartition(":")[2])
    with DaskEngine(1, scheduler_alone) as running:
        results = running.map(return_an_error, [1])
        [scheduler] = [c.pid for c in psutil.net_connections("tcp") if c.laddr[1] == port and c.status == "LISTEN"]
        assert scheduler is not None
        os.kill(scheduler, SIGKILL)
        with pytest.raises(Unavailable, match=rf"The Dask scheduler at tcp://127.0.0.1:{port} went away"):
            list(results)
