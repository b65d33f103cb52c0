"""How often each key occurs, exactly and in bounded memory: keys go to files by their hash, and each file is counted.

The hash only says in which file a key is looked at; keys are compared as they are, so there is no false alarm.
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

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNT, FIRST = "count", "first"
HELD = 262_144
FILES = 256


@dataclass(frozen=True)
class Duplicates:
    """How many keys more than one row has, how many rows have them, and the first few of the keys."""

    keys: int
    rows: int
    first: tuple[tuple[Any, ...], ...]


class KeyCounts:
    """Counts keys (the rows of some columns). At most about `held` different ones are in memory before they go to disk.

    The files lie in `folder`, which must be there, be empty, and be removed by the caller.
    """

    def __init__(self, folder: Path, held: int = HELD) -> None:
        self.rows = 0
        self._folder = folder
        self._held = held
        self._pending: list[pa.Table] = []
        self._writers: dict[int, pa.RecordBatchFileWriter] = {}

    def add(self, keys: pa.Table) -> None:
        """Count the rows of a table; all tables have the same columns and types."""
        first = pa.array(np.arange(self.rows, self.rows + len(keys)))
        self.rows += len(keys)
        numbered = with_one_zero(keys).append_column(COUNT, pa.array(np.ones(len(keys), np.int64)))
        self._pending.append(_counted(numbered.append_column(FIRST, first)))
        if sum(map(len, self._pending)) > self._held:
            self._pending = [_counted(pa.concat_tables(self._pending))]
            if len(self._pending[0]) > self._held // 2:
                self._spill(self._pending.pop())

    def groups(self) -> Iterator[pa.Table]:
        """Every key once, over several tables: its columns `c0`, `c1` ..., COUNT, and FIRST, the number of its row.

        Nothing can be added any more.
        """
        if not self._writers:
            if self._pending:
                yield _counted(pa.concat_tables(self._pending))
            return
        if self._pending:
            self._spill(pa.concat_tables(self._pending))
            self._pending = []
        for writer in self._writers.values():
            writer.close()
        for number in sorted(self._writers):
            with pa.OSFile(str(self._path(number))) as file:
                yield _counted(pa.ipc.open_file(file).read_all())

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

    def _spill(self, groups: pa.Table) -> None:
        names = [name for name in groups.column_names if name not in {COUNT, FIRST}]
        file_of = (row_hashes(groups.select(names))[1] % np.uint64(FILES)).astype(np.int64)
        order = np.argsort(file_of, kind="stable")
        numbers, starts = np.unique(file_of[order], return_index=True)
        ordered = groups.take(pa.array(order))
        for number, start, end in zip(numbers, starts, [*starts[1:], len(order)], strict=True):
            self._writer(int(number), groups.schema).write_table(ordered.slice(start, end - start))

    def _writer(self, number: int, schema: pa.Schema) -> pa.RecordBatchFileWriter:
        if number not in self._writers:
            self._writers[number] = pa.ipc.new_file(str(self._path(number)), schema)
        return self._writers[number]

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrow"


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
