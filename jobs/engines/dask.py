"""The engine on Dask: worker processes of this machine, or a scheduler that is named by its address."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Self, TypeVar

from jobs.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")
PATIENCE = 300  # seconds; a cluster that grows on demand begins to when there is work


class DaskEngine:
    """An `Engine` on a Dask cluster: the one at `scheduler`, or `workers` processes that live while it is used."""

    name = "dask"

    def __init__(self, workers: int, scheduler: str | None = None) -> None:
        self._workers = workers
        self._scheduler = scheduler
        self._cluster: Any = None
        self._client: Any = None

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """See `Engine.map`."""
        from distributed import KilledWorker, as_completed

        futures = self._client.map(function, tasks, pure=False, retries=1)
        try:
            if futures:
                self._client.wait_for_workers(1, timeout=PATIENCE)
            for future in as_completed(futures, loop=self._client.loop):
                yield future.result()
        except TimeoutError as error:
            if self._client.ncores():
                raise  # the function's own
            raise Unavailable(f"The Dask scheduler at {self._scheduler} has no worker: start one.") from error
        except KilledWorker as error:
            raise Unavailable(
                "Dask workers died over a task again and again: give them more memory, or less work in one fragment."
            ) from error
        finally:
            unfinished = [future for future in futures if not future.done()]
            if unfinished:
                self._client.cancel(unfinished)

    def __enter__(self) -> Self:
        from distributed import Client, LocalCluster

        logging.getLogger("distributed").setLevel(logging.WARNING)  # Dask sets its own level when it is imported
        if self._scheduler is None:
            self._cluster = LocalCluster(
                n_workers=self._workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",  # any free port: the usual one is taken by the next partition
                silence_logs=logging.WARNING,
            )
        try:
            self._client = Client(self._cluster or self._scheduler, timeout=10, set_as_default=False)
        except ValueError as error:
            raise Misconfigured(
                f"{self._scheduler!r} is no address of a Dask scheduler: write one like tcp://host:8786."
            ) from error
        except OSError as error:
            raise Unavailable(
                f"No Dask scheduler answers at {self._scheduler}: start it, or unset LAMPLIGHTER_DASK_SCHEDULER."
            ) from error
        return self

    def __exit__(self, *reason: object) -> None:
        if self._client is not None:
            self._client.close()
        if self._cluster is not None:
            self._cluster.close()
