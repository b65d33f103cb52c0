"""A job must not outlive the Airflow task that started it: its retry would find two of them at work."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """On Linux, have the kernel kill this process when its parent ends, whose pid is LAMPLIGHTER_DIE_WITH_PARENT."""
    parent = os.environ.pop("LAMPLIGHTER_DIE_WITH_PARENT", "")
    if not parent or sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if str(os.getppid()) != parent:
        os.kill(os.getpid(), signal.SIGKILL)  # it ended before that, perhaps while this process was being started
