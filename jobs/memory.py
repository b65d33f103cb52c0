"""What a process of ours does with memory that it is done with."""

from __future__ import annotations

import ctypes

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8  # the numbers of mallopt(3)
LARGEST_KEPT, KEPT, ARENAS = 32 << 20, 64 << 20, 2


def keep_freed_memory() -> None:
    """Have the C library keep the arrays of a batch for the next one, up to 64 MB of them in each of two arenas.

    As it comes, glibc gives them back to the system after each batch, and page faults bring them in again: a fifth of
    the time of scoring. And each new thread may get an arena that keeps its own. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        mallopt(TRIM_THRESHOLD, KEPT)
        mallopt(ARENA_MAX, ARENAS)
