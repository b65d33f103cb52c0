"""The engine on Spark: this machine's cores, or a master that is named by its address. Needs Java 17 or 21."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import time
import traceback
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

from jobs.engines import java_archive
from jobs.engines.address import reach
from jobs.errors import Misconfigured, Unavailable, in_brief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")
CONFIGURATION = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.task.maxFailures": "2",
}
# Java hands out tasks here and no more: to optimise that takes longer, and more memory, than it ever saves
JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xms32m -Xmn8m"
LOOK = 5.0  # seconds
PATIENCE = 300  # seconds; others may have all workers for a while
SLICES_PER_CORE = 2  # each costs some ten milliseconds, whatever it holds
TASKS_PER_SLICE = 32  # so that it is seen how far long work is
LOOPBACK = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1"}


class SparkEngine:
    """An `Engine` on Spark: the master at `master`, or `workers` cores of this machine.

    `java` are further options of Java, those of its archive of classes unless given.
    """

    name = "spark"

    def __init__(self, workers: int, master: str | None = None, java: str | None = None) -> None:
        self._master = master or f"local[{workers}]"
        self._java = java
        self._context: Any = None

    @property
    def where(self) -> tuple[object, ...]:
        """See `Engine.where`."""
        return (self._master,)

    def is_well(self) -> bool:
        """See `Engine.is_well`."""
        from py4j.protocol import Py4JError

        context = self._context._jsc  # noqa: SLF001 - there is no other way to ask
        try:
            return context is not None and not context.sc().isStopped()
        except (Py4JError, OSError):  # its Java is gone
            return False

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """See `Engine.map`. The results come slice by slice, each of them a job of Spark's."""
        context = self._context
        at_once = SLICES_PER_CORE * context.defaultParallelism
        slices = max(1, min(len(tasks), max(at_once, -(-len(tasks) // TASKS_PER_SLICE))))
        work = context.parallelize(tasks, slices).map(lambda task: _caught(function, task))
        with ThreadPoolExecutor(min(slices, at_once)) as pool:
            jobs = [pool.submit(context.runJob, work, list, [number]) for number in range(slices)]
            try:
                for job in self._ended(jobs):
                    yield from _results(job)
            except BaseException:
                _cancel(context)
                raise
            finally:
                pool.shutdown(cancel_futures=True)

    def _ended(self, jobs: Sequence[Future[list[Any]]]) -> Iterator[Future[list[Any]]]:
        """The jobs as they end. Raises Unavailable when the master has not one worker for them for too long."""
        waiting, seen = set(jobs), time.monotonic()
        while waiting:
            done, waiting = wait(waiting, LOOK, FIRST_COMPLETED)
            yield from done
            if done or self._has_workers():
                seen = time.monotonic()
            elif time.monotonic() - seen > PATIENCE:
                raise Unavailable(
                    f"The Spark master {self._master} has given no worker for {PATIENCE} s: start some, or free some."
                )

    def _has_workers(self) -> bool:
        from py4j.protocol import Py4JError

        if not self._master.startswith("spark:"):
            return True
        try:
            return int(self._context._jsc.sc().getExecutorMemoryStatus().size()) > 1  # noqa: SLF001 - one is the driver
        except (Py4JError, OSError):  # its Java is gone, which the jobs tell
            return True

    def __enter__(self) -> Self:
        if find_java() is None:
            raise Misconfigured(
                "The Spark engine needs Java 17 or 21, and there is none (in JAVA_HOME, or else on the path): install "
                "Debian's openjdk-17-jre-headless, or choose the engine local or dask."
            )
        for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
            os.environ.setdefault(variable, sys.executable)
        if self._master.startswith("spark:"):
            reach("Spark master", self._master, "spark://host:7077", "LAMPLIGHTER_SPARK_MASTER")
        from pyspark import SparkConf, SparkContext  # a session would add seconds, for SQL that nobody asks

        java = java_archive.options() if self._java is None else self._java
        settings = CONFIGURATION | {"spark.driver.extraJavaOptions": f"{JAVA} {java}"}
        settings |= LOOPBACK if _is_here(self._master) else {}
        configuration = SparkConf().setMaster(self._master).setAppName("lamplighter").setAll(list(settings.items()))
        try:
            self._context = SparkContext.getOrCreate(configuration)
        except Exception as error:
            raise Unavailable(f"Spark does not start on {self._master}: {str(error).splitlines()[0][:200]}") from error
        return self

    def __exit__(self, *reason: object) -> None:
        self._context.stop()


def _results(job: Future[list[Any]]) -> Iterator[Any]:
    """What a slice came to. Raises what the function raised, or Unavailable."""
    try:
        results = job.result()
    except Exception as error:  # not the function's own, which come back as values
        raise Unavailable(f"Spark lost its workers or its master: {in_brief(error)}") from error
    for result in results:
        if isinstance(result, _Raised):
            raise result.error
        yield result


def _cancel(context: Any) -> None:
    """Have the slices that are at work end, unless Spark is gone."""
    from py4j.protocol import Py4JError

    with suppress(Py4JError, OSError):
        context.cancelAllJobs()


def _is_here(master: str) -> bool:
    """Whether the whole cluster is on this machine, so that nothing need listen beyond loopback."""
    return master.startswith("local") or urlsplit(master).hostname in {"127.0.0.1", "localhost"}


def find_java() -> str | None:
    """The java program that Spark would start, or None."""
    home = os.environ.get("JAVA_HOME")
    if home:  # Spark looks nowhere else then
        return shutil.which(str(Path(home) / "bin" / "java"))
    return shutil.which("java")


@dataclass(frozen=True)
class _Raised:
    error: Exception


def _caught(function: Callable[[T], R], task: T) -> R | _Raised:
    """Bring errors back as values: Spark would retry them, and bury them in a Java stack trace."""
    try:
        return function(task)
    except Exception as error:  # noqa: BLE001 - it is raised again on the other side
        error.add_note("".join(traceback.format_exception(error)))  # the frames stay behind with the worker
        return _Raised(_picklable(error))


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own, of a moment ago
    except Exception:  # noqa: BLE001 - an error can fail in any way to be pickled
        return RuntimeError(in_brief(error))
    return error
