"""Keys that are looked at from several threads, cheaply; and counted exactly only when one may occur twice."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING

from jobs.expect import EXAMPLES
from jobs.key_counts import Duplicates, KeyCounts
from jobs.key_hashes import KeyHashes, key_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    import pyarrow as pa


class UniqueKeys:
    """Looks at the keys of batches of rows, which are without nulls and have one type; see `unique_keys`."""

    def __init__(self, folder: Path) -> None:
        self._hashes = KeyHashes(folder)
        self._folder = folder
        self._lock = Lock()

    def add(self, keys: pa.Table) -> None:
        """Look at the keys of some rows, in whatever order."""
        hashes = key_hashes(keys)
        with self._lock:
            self._hashes.add(hashes)

    def duplicates(self, again: Callable[[], Iterable[pa.Table]]) -> Duplicates:
        """The keys that more than one row has; `again` gives all of them once more, in the order of the rows."""
        if not self._hashes.perhaps_twice():
            return Duplicates(0, 0, ())
        counts = self._folder / "counts"
        counts.mkdir()
        keys = KeyCounts(counts)
        for batch in again():
            keys.add(batch)
        return keys.duplicates(EXAMPLES)


@contextmanager
def unique_keys() -> Iterator[UniqueKeys]:
    """Something to look at keys with, in bounded memory: the rest lies on disk as long as this is entered."""
    with TemporaryDirectory(prefix="lamplighter-gate-") as scratch:
        yield UniqueKeys(Path(scratch))
