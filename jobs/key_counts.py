"""How often each key occurs, exactly and in bounded memory: keys go to shares by their hash, and each share is counted.

The hash only says in which share a key is looked at; keys are compared as they are, so there is no false alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.key_hashes import with_one_zero
from jobs.row_digest import row_hashes
from jobs.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.spill import Piece

COUNT, FIRST = "count", "first"
HELD = 262_144
SHARES = 256


@dataclass(frozen=True)
class Duplicates:
    """How many keys more than one row has, how many rows have them, and the first few of the keys."""

    keys: int
    rows: int
    first: tuple[tuple[Any, ...], ...]


class KeyCounts:
    """Counts keys (the rows of some columns). At most about `held` different ones wait in memory."""

    def __init__(self, held: int = HELD) -> None:
        self.rows = 0
        self._held = held
        self._pending: list[pa.Table] = []
        self._spill = Spill()
        self._shares: dict[int, list[Piece]] = {}

    def add(self, keys: pa.Table) -> None:
        """Count the rows of a table; all tables have the same columns and types."""
        first = pa.array(np.arange(self.rows, self.rows + len(keys)))
        self.rows += len(keys)
        numbered = with_one_zero(keys).append_column(COUNT, pa.array(np.ones(len(keys), np.int64)))
        self._pending.append(_counted(numbered.append_column(FIRST, first)))
        if sum(map(len, self._pending)) > self._held:
            self._pending = [_counted(pa.concat_tables(self._pending))]
            if len(self._pending[0]) > self._held // 2:
                self._put_aside(self._pending.pop())

    def groups(self) -> Iterator[pa.Table]:
        """Every key once, over several tables: its columns `c0`, `c1` ..., COUNT, and FIRST, the number of its row."""
        if not self._shares:
            if self._pending:
                yield _counted(pa.concat_tables(self._pending))
            return
        if self._pending:
            self._put_aside(pa.concat_tables(self._pending))
            self._pending = []
        for _, pieces in sorted(self._shares.items()):
            yield _counted(self._spill.tables(pieces))

    def duplicates(self, examples: int) -> Duplicates:
        """The keys that more than one row has, the first `examples` of them in the order of their first rows."""
        keys = rows = 0
        first: list[tuple[Any, ...]] = []
        for groups in self.groups():
            twice = groups.filter(pc.greater(groups[COUNT], 1))
            keys += len(twice)
            rows += pc.sum(twice[COUNT]).as_py() or 0
            some = twice.sort_by(FIRST).slice(0, examples)
            first += zip(*([_python(value) for value in column] for column in some.columns), strict=True)
            first = sorted(first, key=itemgetter(-1))[:examples]
        return Duplicates(keys, rows, tuple(row[:-2] for row in first))

    def _put_aside(self, groups: pa.Table) -> None:
        names = [name for name in groups.column_names if name not in {COUNT, FIRST}]
        share_of = (row_hashes(groups.select(names))[1] % np.uint64(SHARES)).astype(np.int64)
        order = np.argsort(share_of, kind="stable")
        numbers, starts = np.unique(share_of[order], return_index=True)
        ordered = groups.take(pa.array(order))
        for number, start, end in zip(numbers, starts, [*starts[1:], len(order)], strict=True):
            piece = self._spill.put_table(ordered.slice(start, end - start))
            self._shares.setdefault(int(number), []).append(piece)


def _python(value: Any) -> Any:
    """A value of Arrow's as one of Python's; the number of an instant or a day that Python's calendar does not have."""
    try:
        return value.as_py()
    except (OverflowError, ValueError):
        return f"{value.value} as {value.type}"


def _counted(rows: pa.Table) -> pa.Table:
    names = [name for name in rows.column_names if name not in {COUNT, FIRST}]
    grouped = rows.group_by(names).aggregate([(COUNT, "sum"), (FIRST, "min")])
    return grouped.select([*names, f"{COUNT}_sum", f"{FIRST}_min"]).rename_columns([*names, COUNT, FIRST])
