"""Jobs as children of their own, as Airflow's tasks are: to be killed, paused and run again from outside.

A child is forked from a server that has imported what every job imports, so that a thousand of them take minutes; what
it runs is the command line itself.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext
from pathlib import Path

import psutil

JOBS = ("plan", "input-gate", "score", "output-gate", "publish")
HERE = str(Path(__file__).resolve().parents[1])
PATIENCE = 240


def fork_server() -> ForkServerContext:
    """Where children come from: one server, which has imported what any of them needs."""
    context = get_context("forkserver")
    context.set_forkserver_preload(["chaos.preload"])
    with _modules_found():  # or it would leave the import out without a word
        forkserver.ensure_running()
    return context


class Child:
    """A process that runs jobs of one run, one after the other, until one fails."""

    def __init__(self, jobs: Sequence[str], run: str, partition: str, environment: dict[str, str], log: Path) -> None:
        arguments = (tuple(jobs), run, partition, environment, str(log))
        self.process = fork_server().Process(target=_work, args=arguments)
        self.log = log
        self.process.start()

    @property
    def pid(self) -> int:
        """The process, which leads a group of its own."""
        assert self.process.pid is not None
        return self.process.pid

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """The exit code (negative for a signal), or None if it still runs after that time."""
        self.process.join(seconds)
        return self.process.exitcode

    def kill(self, *, alone: bool = False) -> bool:
        """End the child, and all that it started unless `alone`, like a power cut; False when it was over before."""
        was_over = self.process.exitcode is not None
        family = [] if alone else self.family()  # Spark's workers are in a group of their own
        with suppress(ProcessLookupError):
            if not was_over:
                os.kill(self.pid, signal.SIGKILL) if alone or not self._leads() else os.killpg(self.pid, signal.SIGKILL)
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.join()
        return not was_over and self.process.exitcode == -signal.SIGKILL

    def resume(self) -> None:
        """Let a paused child and what it started go on."""
        for member in self.family():
            with suppress(psutil.NoSuchProcess):
                member.resume()

    def family(self) -> list[psutil.Process]:
        """The child and all that it started."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def paused_or_over(self) -> bool:
        """Return once one of the family is paused (True), or the child is over (False)."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.exitcode is not None:
                return False
            for member in self.family():
                with suppress(psutil.NoSuchProcess):
                    if member.status() == psutil.STATUS_STOPPED:
                        return True
            time.sleep(0.01)
        raise AssertionError(f"neither paused nor over: {self.log.read_text()[-2000:]}")

    def _leads(self) -> bool:
        with suppress(ProcessLookupError):
            return os.getpgid(self.pid) == self.pid
        return False


@contextmanager
def _modules_found() -> Iterator[None]:
    """The server is told of modules by the variable, and not by what pytest does to `sys.path`."""
    before = os.environ.get("PYTHONPATH", "")
    if HERE not in before.split(os.pathsep):
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (before, HERE)))
    yield
    os.environ["PYTHONPATH"] = before


def as_a_command(environment: Mapping[str, str], out: str, err: str) -> Callable[[], None]:
    """Make a forked process what a shell makes of a command: its variables, and its streams in files; and its main."""
    opened = [os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) for path in (out, err)]
    for stream, file in enumerate(opened, 1):
        os.dup2(file, stream)
    # the server's own may be closed
    sys.stdout, sys.stderr = (os.fdopen(file, "w", buffering=1, encoding="utf-8") for file in opened)
    os.environ.update(environment)
    # as a job of its own has it: without one pyspark believes that doctests run; the server has another
    sys.modules["__main__"].__file__ = str(Path(sys.executable).with_name("lamplighter"))
    from lamplighter.cli import main

    return main


def _work(jobs: Sequence[str], run: str, partition: str, environment: dict[str, str], log: str) -> None:
    os.setsid()
    main = as_a_command(environment, log, log)
    for job in jobs:
        sys.argv = ["lamplighter", job, "--model", "toys", "--partition", partition, "--run", run]
        if job == "score" and "CHAOS_ENGINE" in environment:
            sys.argv += ["--engine", environment["CHAOS_ENGINE"]]
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
