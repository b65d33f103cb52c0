"""The embedded stack: an MLflow server and the parts of Airflow on loopback, with SQLite and files below one folder."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jobs.errors import Misconfigured, Unavailable
from jobs.settings import PROJECT, Settings, make_folder
from lamplighter.processes import LOOPBACK, Process, free_port, port_is_taken, start, stop
from model_registry.codec import from_json, write_json

USER = "admin"
PASSWORD = "admin"  # noqa: S105 - the fixed login of a demo that listens on loopback only
USERS = {USER: PASSWORD, "approver": "approver"}  # two people, for specs that want two
TITLES = {"airflow": "Airflow", "mlflow": "MLflow"}
PATIENCE_SECONDS = 240
DISK_MB = 500


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
    mlflow = _start(settings, "mlflow", _mlflow_command(settings, ports["mlflow"]), os.environ | MLFLOW_ENVIRONMENT)
    say("starting Airflow")
    environment = airflow_environment(settings, ports["airflow"], ports["mlflow"])
    airflow = _start(settings, "airflow", [sys.executable, "-m", "lamplighter.airflow_parts"], environment)
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
    stopped = [stop(process) for process in (stack.airflow, stack.mlflow)]
    path.unlink()
    return any(stopped)


def port_of(name: str) -> int:
    """The port that a server is to listen on. Raises Misconfigured when the variable holds no port."""
    variable = f"LAMPLIGHTER_{name.upper()}_PORT"
    text = os.environ.get(variable) or {"airflow": "8080", "mlflow": "5000"}[name]
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Misconfigured(f"{variable} is {text!r}, and must be a port between 1 and 65535.")
    return int(text)


def wait_until_healthy(stack: Stack, settings: Settings) -> None:
    """Return once both servers answer healthy. Raises Unavailable when one ends, or takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while state := health(stack):
        for name, process in (("MLflow", stack.mlflow), ("Airflow", stack.airflow)):
            if process.living() is None:
                raise Unavailable(f"{name} ended while it started: its log is {_log(settings, name.lower())}.")
        if time.monotonic() > deadline:
            raise Unavailable(f"{state} after {PATIENCE_SECONDS} s: see the logs in {settings.home / 'logs'}.")
        time.sleep(0.5)


def health(stack: Stack) -> str:
    """What does not answer healthy yet, in words; empty when all does."""
    import httpx

    addresses = {"MLflow": f"{stack.mlflow_url}/health", "Airflow": f"{stack.airflow_url}/api/v2/monitor/health"}
    for name, url in addresses.items():
        try:
            answer = httpx.get(url, timeout=5)
        except httpx.HTTPError:
            return f"{name} does not answer"
        if answer.status_code != httpx.codes.OK:
            return f"{name} answers {answer.status_code}"
        parts = answer.json() if name == "Airflow" else {}
        for part in ("metadatabase", "scheduler", "dag_processor", "triggerer"):
            if name == "Airflow" and parts.get(part, {}).get("status") != "healthy":
                return f"the {part.replace('_', ' ')} of Airflow is not healthy"
    return ""


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
    passwords.write_text(json.dumps(USERS), encoding="utf-8")
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
        "AIRFLOW__CORE__MAX_MAP_LENGTH": "100000",  # partitions that a roll back scores again, also of hours
        "AIRFLOW__CORE__PARALLELISM": "3",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:admin" for user in USERS),
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "LAMPLIGHTER_HOME": str(settings.home),
        "OMP_WAIT_POLICY": "PASSIVE",  # several jobs share the cores: threads that spin would stop the others
        "MLFLOW_TRACKING_URI": f"http://{LOOPBACK}:{mlflow_port}",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        **MLFLOW_ENVIRONMENT,
    }


def _secret(path: Path) -> str:
    if not path.is_file():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(32), encoding="utf-8")
    return path.read_text(encoding="utf-8")


def _check_port(name: str, port: int) -> None:
    if port_is_taken(port):
        raise Misconfigured(
            f"Port {port} of {LOOPBACK}, which {TITLES[name]} is to use, is taken: stop what listens there, or "
            f"set LAMPLIGHTER_{name.upper()}_PORT to another port."
        )


def check_disk(settings: Settings, needed_mb: int = DISK_MB) -> None:
    """Raise Unavailable when the home's disk has less room than a demo needs."""
    make_folder(settings.home, "LAMPLIGHTER_HOME")
    free = shutil.disk_usage(settings.home).free // 1_000_000
    if free < needed_mb:
        raise Unavailable(f"The disk of {settings.home} has {free} MB left, and {needed_mb} MB are needed: free some.")


def _log(settings: Settings, name: str) -> Path:
    return settings.home / "logs" / f"{name}.log"


def _start(settings: Settings, name: str, command: list[str], environment: dict[str, str]) -> Process:
    return start(command, environment, settings.home, _log(settings, name))
