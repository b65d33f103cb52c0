"""The closing line of `make chaos` says what was counted, and nothing but a clean count ends well."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
CASE = """
import pytest
from tally import TALLY

@pytest.mark.chaos
def test_a_fault():
    TALLY.faults += 2
    with TALLY.run():
        TALLY.{what} += {number}
"""


@pytest.mark.parametrize(
    ("what", "number", "code", "line"),
    [
        ("reads", 1, 0, "2 faults, 0 torn reads, 0 lost rows, 0 duplicates, 1 of 1 converged, 0 stale publications"),
        ("lost", 3, 1, "2 faults, 0 torn reads, 3 lost rows, 0 duplicates, 1 of 1 converged, 0 stale publications"),
        ("runs", 1, 1, "2 faults, 0 torn reads, 0 lost rows, 0 duplicates, 1 of 2 converged, 0 stale publications"),
    ],
)
def test_the_closing_line(tmp_path: Path, what: str, number: int, code: int, line: str) -> None:
    case = tmp_path / "test_case.py"
    case.write_text(CASE.format(what=what, number=number))
    options = ["-m", "chaos", "-p", "conftest", "-p", "no:cacheprovider", "-c", str(TESTS.parent / "pyproject.toml")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
    command = [sys.executable, "-m", "pytest", *options, f"--rootdir={tmp_path}", str(case)]
    ran = subprocess.run(
        command, cwd=tmp_path, env=environment | {"CHAOS_SEED": "7"}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == code, ran.stdout + ran.stderr
    assert ran.stdout.splitlines()[-1] == line
    assert ("Repeat it with: make chaos SEED=7" in ran.stdout) == bool(code)
