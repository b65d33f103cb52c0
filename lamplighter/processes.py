"""Server processes of this machine: started in groups of their own, and ended by group; ports that are free."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

LOOPBACK = "127.0.0.1"
GRACE_SECONDS = 15


@dataclass(frozen=True)
class Process:
    """A server that we started: its pid, and when it began, because pids come back."""

    pid: int
    began: float

    def living(self) -> psutil.Process | None:
        """The process, or None when it is gone."""
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.began) < 1 and found.status() != psutil.STATUS_ZOMBIE:
                return found
        return None


def port_is_taken(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def start(command: Sequence[str], environment: dict[str, str], folder: Path, log_file: Path) -> Process:
    """Start a server in a session of its own, with all that it says going to `log_file`."""
    with log_file.open("ab") as log:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
    return Process(child.pid, psutil.Process(child.pid).create_time())


def stop(process: Process) -> bool:
    """End a server's whole process group: an interrupt first, and what is left after a while is killed."""
    if process.living() is None:
        return False
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        deadline = time.monotonic() + GRACE_SECONDS
        while _group(process.pid) and time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)
            time.sleep(0.1)
    return True


def _group(leader: int) -> list[int]:
    """The living members of a process group."""
    members = []
    for process in psutil.process_iter(["pid", "status"]):
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if process.info["status"] != psutil.STATUS_ZOMBIE and os.getpgid(process.info["pid"]) == leader:
                members.append(process.info["pid"])
    return members
