"""The engine on Dask: workers in this process or on this machine, or a scheduler that is named by its address."""

from __future__ import annotations

import logging
import time
from concurrent.futures import CancelledError
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Self, TypeVar

from jobs.engines.address import reach
from jobs.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

log = logging.getLogger(__name__)
T = TypeVar("T")
R = TypeVar("R")
VARIABLE = "LAMPLIGHTER_DASK_SCHEDULER"
PATIENCE = 300  # seconds; a cluster that grows on demand begins to when there is work
LOST = 20  # seconds in which workers of our own that died must be back
BUNDLES_PER_CORE = 8  # enough that no core waits long for another at the end
LARGEST_BUNDLE = 8  # a cluster may grow while it is at work
LOOK = 1  # seconds between two looks at whether anybody is at work


def _each(function: Callable[[T], R], tasks: Sequence[T]) -> list[R]:
    return [function(task) for task in tasks]


class DaskEngine:
    """An `Engine` on a Dask cluster: the one at `scheduler`, or one of our own that lives while it is used.

    Ours has `workers` processes, or as many threads of this one: less memory, and nothing to wait for, but they are of
    use only to functions that let go of Python's lock, as compiled versions do.
    """

    name = "dask"

    def __init__(self, workers: int, scheduler: str | None = None, *, threads: bool = False) -> None:
        self._workers = workers
        self._scheduler = scheduler
        self._threads = threads and scheduler is None
        self._cluster: Any = None
        self._client: Any = None
        self._address = scheduler

    @property
    def where(self) -> tuple[object, ...]:
        """See `Engine.where`."""
        return (self._workers, self._scheduler, self._threads)

    def is_well(self) -> bool:
        """See `Engine.is_well`: whether all workers of our own are there, or the scheduler that was named."""
        if self._client.status != "running":
            return False
        return self._cluster is None or self._cores() == self._workers

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """See `Engine.map`. Raises Unavailable when the workers or the scheduler are gone, and do not come back."""
        from distributed import KilledWorker

        futures = self._client.map(partial(_each, function), self._bundles(tasks), pure=False, retries=1)
        finished: SimpleQueue[Any] = SimpleQueue()
        for future in futures:
            future.add_done_callback(finished.put)
        try:
            for _ in futures:
                yield from self._result(self._waited_for(finished))
        except KilledWorker as error:
            raise Unavailable(
                "Dask workers died over a task again and again: give them more memory, or less work in one fragment."
            ) from error
        except CancelledError as error:
            raise Unavailable(f"The Dask scheduler at {self._address} went away.") from error
        finally:
            unfinished = [future for future in futures if not future.done()]
            if unfinished:
                self._client.cancel(unfinished)

    def _bundles(self, tasks: Sequence[T]) -> list[Sequence[T]]:
        """Neighbouring tasks put together: to Dask, each bundle costs what a small fragment takes to be scored."""
        cores = self._cores()
        size = max(1, min(LARGEST_BUNDLE, len(tasks) // (BUNDLES_PER_CORE * cores))) if cores else 1
        return [tasks[start : start + size] for start in range(0, len(tasks), size)]

    def _cores(self) -> int:
        """The threads of all workers that are there; none when the scheduler is not."""
        try:
            return sum(self._client.ncores().values())
        except OSError:
            return 0

    def _waited_for(self, finished: SimpleQueue[Any]) -> Any:
        """The next future that is finished."""
        seen = time.monotonic()
        while True:
            try:
                return finished.get(timeout=LOOK)
            except Empty:
                seen = self._workers_seen(seen)

    def _result(self, future: Any) -> Any:
        """What the future's function returned; it is done again when it was lost with its worker."""
        seen = time.monotonic()
        while True:
            try:
                return future.result(timeout=LOOK)
            except TimeoutError:
                if future.status == "error":
                    raise  # the function's own
                seen = self._workers_seen(seen)

    def _workers_seen(self, before: float) -> float:
        """When a worker was last there: now, or `before`. Raises Unavailable when that is too long ago.

        Dask itself waits for ever, also for workers of ours that died in quick succession and whose nannies gave up.
        """
        now = time.monotonic()
        if self._client.status == "running" and self._cores():
            return now
        if now - before <= (PATIENCE if self._cluster is None else LOST):
            return before
        if self._cluster is None:
            raise Unavailable(f"The Dask scheduler at {self._scheduler} has no worker: start one.")
        raise Unavailable(
            "All Dask workers died and did not come back: give them more memory, or less work in one fragment."
        )

    def __enter__(self) -> Self:
        from distributed import Client, LocalCluster

        logging.getLogger("distributed").setLevel(logging.WARNING)  # Dask sets its own level when it is imported
        if self._scheduler is None:
            there = {"n_workers": self._workers, "threads_per_worker": 1, "processes": True, "host": "127.0.0.1"}
            here = {"n_workers": 1, "threads_per_worker": self._workers, "processes": False, "memory_limit": 0}
            self._cluster = LocalCluster(
                **(here if self._threads else there),
                dashboard_address="127.0.0.1:0",  # any free port: the usual one is taken by the next partition
                silence_logs=logging.WARNING,
            )
        else:
            reach("Dask scheduler", self._scheduler, "tcp://host:8786", VARIABLE)
        try:
            self._client = Client(self._cluster or self._scheduler, timeout=10, set_as_default=False)
        except OSError as error:
            raise Unavailable(
                f"No Dask scheduler answers at {self._scheduler}: start it, or unset {VARIABLE}."
            ) from error
        self._address = self._client.scheduler.address  # a client that has given up knows none
        return self

    def __exit__(self, *reason: object) -> None:
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            try:
                self._cluster.close()
            except AssertionError as error:  # a worker that died is just being started again; it ends with this process
                log.warning("Dask's workers are left to end with this process: %s.", error)
