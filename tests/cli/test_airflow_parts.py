"""What keeps the parts of Airflow running: whatever ends is started again, and an interrupt ends all."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

KEEP = """
import sys
from lamplighter.airflow_parts import keep_running
keep_running({name: [sys.executable, "-c", "import time; time.sleep(600)", name] for name in ("one", "two")})
"""


def soon(question: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not question():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_part_that_ends_is_started_again_until_all_are_to_end(tmp_path: Path, end: signal.Signals) -> None:
    with (tmp_path / "log").open("wb") as log:
        keeper = subprocess.Popen([sys.executable, "-c", KEEP], stdout=log, stderr=log, start_new_session=True)
    try:
        parent = psutil.Process(keeper.pid)
        soon(lambda: len(parent.children()) == 2)
        before = {child.pid for child in parent.children()}
        killed, other = sorted(before)
        os.kill(killed, signal.SIGKILL)
        soon(lambda: len(parent.children()) == 2 and killed not in {child.pid for child in parent.children()})
        after = parent.children()
        assert other in {child.pid for child in after}
        keeper.send_signal(end)
        assert keeper.wait(30) == 0
        assert not any(child.is_running() for child in after)
    finally:
        keeper.kill()
        keeper.wait()
    assert "ended with -9: it is started again" in (tmp_path / "log").read_text()


def test_a_part_that_cannot_be_started_stops_no_other(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = KEEP.replace('for name in ("one", "two")}', 'for name in ("one",)} | {"none": ["/no/such/program"]}')
    with log.open("wb") as out:
        keeper = subprocess.Popen([sys.executable, "-c", code], stdout=out, stderr=out, start_new_session=True)
    try:
        soon(lambda: "none cannot be started" in log.read_text() and psutil.Process(keeper.pid).children())
        keeper.send_signal(signal.SIGTERM)
        assert keeper.wait(30) == 0
    finally:
        keeper.kill()
        keeper.wait()
