"""Faults on purpose, for tests from outside: a variable names a step and what happens there.

`LAMPLIGHTER_FAULT=promotion:recorded=kill` ends the process like a power cut when it comes to that step. `stop` pauses
it (SIGSTOP), `fail` raises, `full` raises as a full disk does. `score:recorded*7=kill` waits for the seventh time in a
process. Without the variable nothing listens.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING

from jobs.errors import Misconfigured, Unavailable
from jobs.steps import STEPS
from model_registry.steps import listen

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "LAMPLIGHTER_FAULT"
_heard: dict[str, str] = {}


def listen_for_faults(env: Mapping[str, str] | None = None) -> None:
    """Listen for the step that the variable names. Raises Misconfigured when there is no such step or fault."""
    wanted = (os.environ if env is None else env).get(VARIABLE)
    if not wanted or _heard.get(VARIABLE) == wanted:
        return
    _heard[VARIABLE] = wanted
    place, _, what = wanted.rpartition("=")
    where, _, times = place.partition("*")
    left = int(times) if times.isdecimal() else 1
    if where not in STEPS or what not in {"kill", "stop", "fail", "full"}:
        raise Misconfigured(f"{VARIABLE}={wanted} is no step and fault: write one like promotion:recorded=kill.")

    def happen(step: str) -> None:
        nonlocal left
        left -= step == where
        if step != where or left:
            return
        if what == "full":
            raise OSError(errno.ENOSPC, "No space left on device")
        if what == "fail":
            raise Unavailable(f"{VARIABLE} made the step {step} fail.")
        os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGSTOP)

    listen(happen)
