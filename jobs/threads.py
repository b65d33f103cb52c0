"""Threads for work that is done outside of Python: reading, hashing, digests."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")


def in_threads(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """The result of each item, in their order; as many at a time as this process has cores.

    Of several errors the one of the first item is raised, and what has not begun is left.
    """
    workers = min(len(items), len(os.sched_getaffinity(0)))
    if workers < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(workers) as pool:
        try:
            return list(pool.map(function, items))
        finally:
            pool.shutdown(cancel_futures=True)
