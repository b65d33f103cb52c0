"""Keys that are looked at from several threads, cheaply; and counted exactly only when one may occur twice."""

from __future__ import annotations

from itertools import pairwise
from threading import Lock
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.content_digest import fixed
from jobs.expect import EXAMPLES
from jobs.key_counts import Duplicates, KeyCounts
from jobs.key_hashes import KeyHashes, key_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NONE = Duplicates(0, 0, ())


class UniqueKeys:
    """Looks at the keys of batches of rows, which are without nulls and have one type, in bounded memory.

    Keys often count up: then the ends of each batch say all. From the first batch on that does not, keys are hashed.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._ends: list[tuple[int, int]] = []
        self._hashes: KeyHashes | None = None

    def add(self, keys: pa.Table) -> None:
        """Look at the keys of some rows, in whatever order."""
        if not len(keys):
            return
        ends = ends_of(keys) if self._hashes is None else None
        hashes = key_hashes(keys) if ends is None else None
        with self._lock:
            if ends is not None:
                self._ends.append(ends)
            elif hashes is not None:
                self._hashes = self._hashes or KeyHashes()
                self._hashes.add(hashes)

    def duplicates(self, again: Callable[[], Iterable[pa.Table]]) -> Duplicates:
        """The keys that more than one row has; `again` gives all of them once more, in the order of the rows."""
        if not self._perhaps_twice(again):
            return NONE
        keys = KeyCounts()
        for batch in again():
            keys.add(batch)
        return keys.duplicates(EXAMPLES)

    def _perhaps_twice(self, again: Callable[[], Iterable[pa.Table]]) -> bool:
        if self._hashes is None and all(a[1] < b[0] for a, b in pairwise(sorted(self._ends))):
            return False
        if self._ends:  # whose keys were not hashed
            self._hashes = KeyHashes()
            for batch in again():
                self._hashes.add(key_hashes(batch))
        return self._hashes is not None and self._hashes.perhaps_twice()


def ends_of(keys: pa.Table) -> tuple[int, int] | None:
    """The first and the last of keys that are whole numbers, each larger than the one before; None of any others."""
    if keys.num_columns != 1 or not pa.types.is_int64(keys[0].type):
        return None
    values = fixed(keys[0], "<i8")
    return (int(values[0]), int(values[-1])) if (values[1:] > values[:-1]).all() else None
