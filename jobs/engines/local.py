"""The engine that needs nothing: threads of this process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")


class LocalEngine:
    """An `Engine` of `workers` threads."""

    name = "local"

    def __init__(self, workers: int) -> None:
        self._workers = workers

    @property
    def where(self) -> tuple[object, ...]:
        """See `Engine.where`."""
        return (self._workers,)

    def is_well(self) -> bool:
        """See `Engine.is_well`."""
        return True

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """See `Engine.map`."""
        with ThreadPoolExecutor(self._workers) as pool:
            futures = [pool.submit(function, task) for task in tasks]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        return None
