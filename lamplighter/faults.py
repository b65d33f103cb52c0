"""Faults on purpose, for tests from outside: a variable names a step and what happens there.

`LAMPLIGHTER_FAULT=promotion:recorded=kill` ends the process like a power cut when it comes to that step. `stop` pauses
it (SIGSTOP), `fail` raises. Without the variable nothing listens.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from jobs.errors import Misconfigured, Unavailable
from model_registry.steps import PROMOTION_STEPS, listen

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "LAMPLIGHTER_FAULT"


def listen_for_faults(env: Mapping[str, str] | None = None) -> None:
    """Listen for the step that the variable names. Raises Misconfigured when there is no such step or fault."""
    wanted = (os.environ if env is None else env).get(VARIABLE)
    if not wanted:
        return
    where, _, what = wanted.rpartition("=")
    if where not in PROMOTION_STEPS or what not in {"kill", "stop", "fail"}:
        raise Misconfigured(f"{VARIABLE}={wanted} is no step and fault: write one like promotion:recorded=kill.")

    def happen(step: str) -> None:
        if step != where:
            return
        if what == "fail":
            raise Unavailable(f"{VARIABLE} made the step {step} fail.")
        os.kill(os.getpid(), signal.SIGKILL if what == "kill" else signal.SIGSTOP)

    listen(happen)
