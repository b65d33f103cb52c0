"""Whoever waits sees how far the work is, in a log and on a terminal; short work says nothing."""

import logging
import os
import pty
import subprocess
import sys
from collections.abc import Iterator

import pytest

from jobs import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test moves."""
    now = [100.0]
    monkeypatch.setattr("jobs.progress.monotonic", lambda: now[0])
    return now


def work(clock: list[float], seconds: float) -> Iterator[int]:
    for _ in range(10):
        clock[0] += seconds
        yield 250_000


def test_a_log_gets_a_line_every_few_seconds(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    assert list(progress.shown(work(clock, 2.0), int, 2_500_000, "toys 2026-01-16")) == [250_000] * 10
    assert caplog.messages == [
        "toys 2026-01-16: 750,000 of 2,500,000 rows (30 %), 125,000 rows/s, 14 s left.",
        "toys 2026-01-16: 1,500,000 of 2,500,000 rows (60 %), 125,000 rows/s, 8 s left.",
        "toys 2026-01-16: 2,250,000 of 2,500,000 rows (90 %), 125,000 rows/s, 2 s left.",
    ]


def test_short_work_says_nothing(clock: list[float], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    list(progress.shown(work(clock, 0.4), int, 2_500_000, "toys"))
    assert caplog.messages == []


def test_a_terminal_gets_a_bar() -> None:
    ours, theirs = pty.openpty()
    loop = "for n in shown(range(4), lambda n: 5000, 20000, 'toys'): time.sleep(0.2)"
    code = f"import time; from jobs.progress import shown\n{loop}"
    child = subprocess.Popen(
        [sys.executable, "-c", code], stderr=theirs, env=os.environ | {"COLUMNS": "160", "TERM": "xterm"}
    )
    os.close(theirs)
    said = b""
    try:
        while block := os.read(ours, 4096):
            said += block
    except OSError:  # Linux says so when the last writer is gone
        pass
    assert child.wait() == 0
    assert b"15,000 of 20,000 rows" in said
    assert b"rows/s" in said
