"""A real Airflow for the tests: its configuration for parsing, and a whole embedded stack with the demo in it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

PROJECT = Path(__file__).resolve().parents[2]
DEMO = ("demo", "--days", "2")
"""A week is no other loop than two days, only longer."""
_AIRFLOW_HOME = PROJECT / ".lamplighter" / "test-airflow"
os.environ.setdefault("AIRFLOW_HOME", str(_AIRFLOW_HOME))  # before anything imports Airflow
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")


@dataclass(frozen=True)
class Loop:
    """A home in which the demo has run, its servers still up."""

    home: Path
    environment: dict[str, str]
    airflow_url: str
    mlflow_url: str
    demo: tuple[str, ...]
    said: str
    seconds: float

    def lamplighter(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line in this home."""
        return run_lamplighter(self.environment, *arguments)

    def status(self) -> dict[str, Any]:
        """What `lamplighter status --json` says."""
        return json.loads(self.lamplighter("status", "--json").stdout)


def run_lamplighter(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in a process of its own."""
    command = [sys.executable, "-m", "lamplighter.cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _models(folder: Path) -> Path:
    """The models as they are shipped, but for one that wants two people to agree."""
    shutil.copytree(PROJECT / "models", folder)
    spec = folder / "arrival_minutes" / "model.yaml"
    text = spec.read_text()
    assert "promotion: {to: production}" in text
    spec.write_text(text.replace("promotion: {to: production}", "promotion: {to: production, approval: two_persons}"))
    return folder


def _environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a stack of its own in that home."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "LAMPLIGHTER", "MLFLOW"))}
    ports = {f"LAMPLIGHTER_{name}_PORT": str(free_port()) for name in ("AIRFLOW", "MLFLOW")}
    return kept | ports | {"LAMPLIGHTER_HOME": str(home)} | more


@pytest.fixture
def stack_of() -> Iterator[Callable[..., dict[str, str]]]:
    """Called with a home and more variables, it starts a stack there, and gives its environment."""
    started = []

    def start(home: Path, **more: str) -> dict[str, str]:
        started.append(_environment(home, **more))
        ran = run_lamplighter(started[-1], "up")
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-3000:]
        return started[-1]

    yield start
    for environment in started:
        run_lamplighter(environment, "down")


@pytest.fixture(scope="session")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """The demo, run once for all tests, for fewer days; at the end nothing of it may be left."""
    home = tmp_path_factory.mktemp("home")
    ports = {name: free_port() for name in ("AIRFLOW", "MLFLOW")}
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW", "LAMPLIGHTER", "MLFLOW"))}
    environment |= {"LAMPLIGHTER_MODELS": str(_models(home / "models"))}
    environment |= {"LAMPLIGHTER_HOME": str(home), **{f"LAMPLIGHTER_{n}_PORT": str(p) for n, p in ports.items()}}
    try:
        began = time.monotonic()
        ran = run_lamplighter(environment, *DEMO)
        seconds = time.monotonic() - began
        assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-3000:]
        addresses = (f"http://127.0.0.1:{ports[name]}" for name in ("AIRFLOW", "MLFLOW"))
        yield Loop(home, environment, *addresses, DEMO, ran.stdout, seconds)
    finally:
        run_lamplighter(environment, "down")
        left = [p for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or ())]
        assert not left, left
