"""What each job loads: a night of few rows takes as long as its imports."""

import importlib
import json
import os
import subprocess
import sys
from typing import Any

import pytest
from conftest import Shop

from jobs.absent import absent

DAY = "2026-01-16"
HEAVY = {
    "airflow",
    "boto3",
    "dask",
    "distributed",
    "great_expectations",
    "matplotlib",
    "mlflow",
    "pyarrow.dataset",
    "pyspark",
    "sklearn",
    "skops",
}

RUN = """\
import atexit, sys
from lamplighter.cli import main
atexit.register(lambda: print(*(name for name, module in sys.modules.items() if module), file=sys.stderr))
main()
"""


@pytest.fixture
def ready(open_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A world whose day is judged, scored and judged again by a run `test`; the cache has the version."""
    open_shop.prepare(DAY)
    for name in ("HOME", "MODELS"):
        monkeypatch.setenv(f"LAMPLIGHTER_{name}", str(getattr(open_shop.settings, name.lower())))
    return open_shop


def loaded(command: str) -> set[str]:
    """The heavy packages that a job loads in a process of its own."""
    arguments = ["-c", RUN, command, "--model", "toys", "--partition", DAY, "--run", "test"]
    environment = os.environ | {"LAMPLIGHTER_ACTOR": "ada"}
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return set(done.stderr.splitlines()[-1].split()) & HEAVY


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("plan", {"mlflow"}),
        ("input-gate", {"great_expectations"}),
        ("score", set()),
        ("output-gate", set()),
        ("publish", set()),
    ],
)
def test_a_job_loads_no_more_than_it_needs(ready: Any, command: str, wanted: set[str]) -> None:
    assert loaded(command) == wanted


def test_what_is_hidden_from_a_library_is_there_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with absent("colorsys", "json"):
        assert sys.modules["json"] is json
        with pytest.raises(ImportError, match="colorsys"):
            importlib.import_module("colorsys")
    assert importlib.import_module("colorsys") is sys.modules["colorsys"]
