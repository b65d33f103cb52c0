"""The embedded stack: an MLflow server and `airflow standalone` on loopback, with SQLite and files below one folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from jobs.errors import Misconfigured, Unavailable
from jobs.settings import PROJECT, Settings
from model_registry.codec import from_json, write_json

LOOPBACK = "127.0.0.1"
USER = "admin"
PASSWORD = "admin"  # noqa: S105 - the fixed login of a demo that listens on loopback only
PATIENCE_SECONDS = 240
GRACE_SECONDS = 15


@dataclass(frozen=True)
class Process:
    """A server that we started: its pid, and when it began, because pids come back."""

    pid: int
    began: float

    def living(self) -> psutil.Process | None:
        """The process, or None when it is gone."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.began) < 1 and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


@dataclass(frozen=True)
class Stack:
    """A running stack, as `<home>/stack.json` keeps it."""

    airflow_port: int
    mlflow_port: int
    airflow: Process
    mlflow: Process

    @property
    def airflow_url(self) -> str:
        """Address of Airflow's user interface and REST API."""
        return f"http://{LOOPBACK}:{self.airflow_port}"

    @property
    def mlflow_url(self) -> str:
        """Address of MLflow's user interface and API."""
        return f"http://{LOOPBACK}:{self.mlflow_port}"

    def alive(self) -> bool:
        """Whether both servers' processes are there."""
        return self.airflow.living() is not None and self.mlflow.living() is not None


def running(settings: Settings) -> Stack | None:
    """The stack that was started from this home and is still alive."""
    path = settings.home / "stack.json"
    if not path.is_file():
        return None
    stack = from_json(Stack, path.read_text(encoding="utf-8"))
    return stack if stack.alive() else None


def up(settings: Settings, say: Callable[[str], None]) -> Stack:
    """Start what is not running, and wait until both answer. Raises Misconfigured for a taken port, Unavailable."""
    if (stack := running(settings)) is not None:
        wait_until_healthy(stack, settings)
        return stack
    down(settings)
    ports = {name: port_of(name) for name in ("airflow", "mlflow")}
    for name, port in ports.items():
        _check_port(name, port)
    (settings.home / "logs").mkdir(parents=True, exist_ok=True)
    say("starting MLflow")
    mlflow = _start("mlflow", _mlflow_command(settings, ports["mlflow"]), os.environ | MLFLOW_ENVIRONMENT, settings)
    say("starting Airflow")
    environment = airflow_environment(settings, ports["airflow"], ports["mlflow"])
    airflow = _start("airflow", [sys.executable, "-m", "airflow", "standalone"], environment, settings)
    stack = Stack(ports["airflow"], ports["mlflow"], airflow, mlflow)
    write_json(settings.home / "stack.json", stack)
    wait_until_healthy(stack, settings)
    return stack


def down(settings: Settings) -> bool:
    """Stop what was started from this home; returns whether anything was running."""
    path = settings.home / "stack.json"
    if not path.is_file():
        return False
    stack = from_json(Stack, path.read_text(encoding="utf-8"))
    stopped = [_stop(process) for process in (stack.airflow, stack.mlflow)]
    path.unlink()
    return any(stopped)


def port_of(name: str) -> int:
    """The port that a server is to listen on. Raises Misconfigured when the variable holds no port."""
    variable = f"LAMPLIGHTER_{name.upper()}_PORT"
    text = os.environ.get(variable) or {"airflow": "8080", "mlflow": "5000"}[name]
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Misconfigured(f"{variable} is {text!r}, and must be a port between 1 and 65535.")
    return int(text)


def port_is_taken(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def wait_until_healthy(stack: Stack, settings: Settings) -> None:
    """Return once both servers answer healthy. Raises Unavailable when one ends, or takes too long."""
    import httpx

    deadline = time.monotonic() + PATIENCE_SECONDS
    waiting = {"MLflow": f"{stack.mlflow_url}/health", "Airflow": f"{stack.airflow_url}/api/v2/monitor/health"}
    while waiting:
        for name, url in list(waiting.items()):
            process = stack.airflow if name == "Airflow" else stack.mlflow
            if process.living() is None:
                raise Unavailable(f"{name} ended while it started: its log is {_log(settings, name.lower())}.")
            with suppress(httpx.HTTPError):
                if _healthy(httpx.get(url, timeout=5)):
                    del waiting[name]
        if waiting and time.monotonic() > deadline:
            name = " and ".join(waiting)
            raise Unavailable(f"{name} did not become healthy in {PATIENCE_SECONDS} s: see {settings.home / 'logs'}.")
        time.sleep(0.5)


def _healthy(response: object) -> bool:
    import httpx

    if not isinstance(response, httpx.Response) or response.status_code != httpx.codes.OK:
        return False
    if not response.headers.get("content-type", "").startswith("application/json"):
        return True
    parts = response.json()
    needed = ("metadatabase", "scheduler", "dag_processor", "triggerer")
    return all(parts.get(part, {}).get("status") == "healthy" for part in needed)


MLFLOW_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def _mlflow_command(settings: Settings, port: int) -> list[str]:
    home = settings.home / "mlflow"
    (home / "artifacts").mkdir(parents=True, exist_ok=True)
    store = ["--backend-store-uri", f"sqlite:///{home / 'mlflow.db'}", "--workers", "1"]
    artifacts = ["--no-serve-artifacts", "--default-artifact-root", (home / "artifacts").as_uri()]
    return [sys.executable, "-m", "mlflow", "server", *store, *artifacts, "--host", LOOPBACK, "--port", str(port)]


def airflow_environment(settings: Settings, port: int, mlflow_port: int) -> dict[str, str]:
    """The environment of the embedded Airflow and, through it, of every job that it starts."""
    home = settings.home / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({USER: PASSWORD}), encoding="utf-8")
    return os.environ | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API__BASE_URL": f"http://{LOOPBACK}:{port}",
        "AIRFLOW__API__HOST": LOOPBACK,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": _secret(home / "api-secret"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home / "jwt-secret"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{LOOPBACK}:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(_free_port()),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(_free_port()),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "LAMPLIGHTER_HOME": str(settings.home),
        "MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{mlflow_port}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        **MLFLOW_ENVIRONMENT,
    }


def _secret(path: Path) -> str:
    if not path.is_file():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _check_port(name: str, port: int) -> None:
    if port_is_taken(port):
        raise Misconfigured(
            f"Port {port} of {LOOPBACK}, which {name.capitalize()} is to use, is taken: stop what listens there, or "
            f"set LAMPLIGHTER_{name.upper()}_PORT to another port."
        )


def check_disk(settings: Settings, needed_mb: int = 500) -> None:
    """Raise Unavailable when the home's disk has less room than a demo needs."""
    settings.home.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.home).free // 1_000_000
    if free < needed_mb:
        raise Unavailable(f"The disk of {settings.home} has {free} MB left, and {needed_mb} MB are needed: free some.")


def _log(settings: Settings, name: str) -> Path:
    return settings.home / "logs" / f"{name}.log"


def _start(name: str, command: list[str], environment: dict[str, str], settings: Settings) -> Process:
    with _log(settings, name).open("ab") as log:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=settings.home,
            start_new_session=True,
        )
    return Process(child.pid, psutil.Process(child.pid).create_time())


def _stop(process: Process) -> bool:
    """End a server's whole process group: an interrupt first, and what is left after a while is killed."""
    if process.living() is None:
        return False
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while _group(process.pid) and time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
            time.sleep(0.1)
    return True


def _group(leader: int) -> list[int]:
    """The living members of a process group."""
    members = []
    for process in psutil.process_iter(["pid", "status"]):
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.info["pid"]) == leader:
                members.append(process.info["pid"])
    return members
