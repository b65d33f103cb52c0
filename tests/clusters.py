"""Clusters of real, separate processes on loopback, which are gone at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyspark


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def servers(folder: Path) -> Iterator[Callable[..., Path]]:
    """A function that starts server processes in groups of their own; all are gone at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, **variables: str) -> Path:
        log = folder / f"server-{len(started)}.log"
        environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1", **variables}
        with log.open("wb") as out:
            options: dict[str, Any] = {"stdout": out, "stderr": subprocess.STDOUT, "cwd": folder, "env": environment}
            started.append(subprocess.Popen(command, start_new_session=True, **options))
        return log

    try:
        yield start
    finally:
        for process in reversed(started):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """The address of a Dask scheduler with two workers, all processes of their own."""
    port = free_port()
    with servers(folder) as start:
        dask = (sys.executable, "-m", "dask")
        start(*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        wait_for(lambda: answers(port), "the Dask scheduler did not start")
        worker = (*dask, "worker", f"tcp://127.0.0.1:{port}", "--host", "127.0.0.1", "--nthreads", "1")
        logs = [start(*worker, "--no-dashboard") for _ in range(2)]
        wait_for(lambda: all("Registered to" in log.read_text() for log in logs), "the Dask workers did not register")
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def spark_cluster(folder: Path, workers: int = 2) -> Iterator[str]:
    """The address of a Spark master with some workers, all processes of their own."""
    port = free_port()
    launcher = str(Path(pyspark.__file__).parent / "bin" / "spark-class")
    here = ("--host", "127.0.0.1", "--webui-port", "0")
    with servers(folder) as start:
        start(launcher, "org.apache.spark.deploy.master.Master", *here, "--port", str(port))
        wait_for(lambda: answers(port), "the Spark master did not start")
        worker = ("org.apache.spark.deploy.worker.Worker", *here, "--cores", "1", "--memory", "1g")
        logs = [
            start(launcher, *worker, "--work-dir", str(folder), f"spark://127.0.0.1:{port}") for _ in range(workers)
        ]
        registered = "Successfully registered with master"
        wait_for(lambda: all(registered in log.read_text() for log in logs), "the Spark workers did not register")
        yield f"spark://127.0.0.1:{port}"
