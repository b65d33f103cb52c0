"""What each job loads: a night of few rows takes as long as its imports."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from conftest import Shop

DAY = "2026-01-16"
HEAVY = {"airflow", "dask", "distributed", "great_expectations", "matplotlib", "mlflow", "pyspark", "sklearn", "skops"}


@pytest.fixture
def ready(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A world whose day is judged, scored and judged again by a run `test`; the cache has the version."""
    open_shop.prepare(DAY)
    for name in ("HOME", "MODELS"):
        monkeypatch.setenv(f"LAMPLIGHTER_{name}", str(getattr(open_shop.settings, name.lower())))
    return open_shop


def loaded(command: str) -> set[str]:
    """The heavy packages that a job loads in a process of its own."""
    arguments = ["-X", "importtime", "-m", "lamplighter.cli", command, "--model", "toys", "--partition", DAY]
    environment = os.environ | {"LAMPLIGHTER_ACTOR": "ada"}
    done = subprocess.run(
        [sys.executable, *arguments, "--run", "test"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {name.split(".")[0] for name in re.findall(r"import time:.*\| +(\S+)", done.stderr)} & HEAVY


@pytest.mark.parametrize(
    ("command", "wanted"),
    [("plan", {"mlflow", "pyspark"}), ("score", set()), ("output-gate", set()), ("publish", set())],
)
def test_a_job_loads_no_more_than_it_needs(ready: Any, command: str, wanted: set[str]) -> None:
    assert loaded(command) == wanted
