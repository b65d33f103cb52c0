"""Reading a partition in batches: however large a partition, a file or a row group is, a batch is not larger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.inputs import find_input
from jobs.source import BROKEN, check_texts, file_and_folder, open_with, unreadable
from jobs.together import together

if TYPE_CHECKING:
    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec

BATCH_ROWS = 131_072
UNKNOWN = "Not yet implemented"
"""How Arrow says, in an OSError of no number, that it cannot decode a page into what was asked for."""


def read_batches(
    path: str,
    row_groups: Sequence[int] | None,
    columns: Sequence[str],
    rows: int = BATCH_ROWS,
    dictionaries: Sequence[str] = (),
) -> Iterator[pa.Table]:
    """The columns of some row groups (default: all) in tables of exactly `rows` rows, the last one shorter.

    Texts of the columns in `dictionaries` come as dictionaries, each value once, where the file has such a form.
    Raises Rejected, naming file and column, when a column is missing or stands twice, or a page cannot be read.
    """
    done = 0
    try:
        for table in _batches(path, row_groups, columns, rows, dictionaries):
            yield table
            done += len(table)
    except _NoDictionaryError:
        for table in read_batches(path, row_groups, columns, rows):
            done -= len(table)
            if done < 0:
                yield table


class _NoDictionaryError(Exception):
    """Arrow makes no dictionaries of texts in this encoding, such as one by differences."""


def _batches(
    path: str, row_groups: Sequence[int] | None, columns: Sequence[str], rows: int, dictionaries: Sequence[str]
) -> Iterator[pa.Table]:
    file = open_with(path, columns, dictionaries)
    groups = list(range(file.metadata.num_row_groups)) if row_groups is None else list(row_groups)
    held: list[pa.RecordBatch] = []
    try:
        pieces = file.iter_batches(batch_size=rows, row_groups=groups, columns=list(columns), use_threads=False)
        for piece in pieces:
            check_texts(pa.Table.from_batches([piece]), path)
            held.append(piece)
            while sum(map(len, held)) >= rows:
                table = without_views(pa.Table.from_batches(held).select(list(columns)))
                yield table.slice(0, rows)
                held = table.slice(rows).to_batches()
    except BROKEN as error:
        if dictionaries and UNKNOWN in str(error):
            raise _NoDictionaryError from error
        raise unreadable(path, error) from error
    if any(map(len, held)):
        yield without_views(pa.Table.from_batches(held).select(list(columns)))


def without_views(table: pa.Table) -> pa.Table:
    """The table with texts in Arrow's usual form, for which it has all of its functions."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            table = table.set_column(place, field.name, table[place].cast(pa.string()))
    return table


def source_tables(
    settings: Settings, spec: ModelSpec, partitions: Sequence[Partition], most: int = BATCH_ROWS
) -> Iterator[pa.Table]:
    """Keys and features of some partitions as scoring reads them, batch by batch, at most so many rows of each one."""
    columns = list(dict.fromkeys([*spec.key, *spec.features]))
    for partition in partitions:
        files = find_input(settings, spec, partition).files
        left = most
        for table in chain.from_iterable(read_batches(file.path, None, columns) for file in files):
            yield table.slice(0, left)
            left -= len(table)
            if left <= 0:
                break


def empty(path: str, columns: Sequence[str]) -> pa.Table:
    """The columns of a file without their rows, from its metadata alone. Raises Rejected as `read_batches` does."""
    return open_with(path, columns).schema_arrow.empty_table().select(list(columns))


def common_schema(
    empties: Sequence[pa.Table], columns: Sequence[str], where: str, names: Sequence[str] = ()
) -> pa.Schema:
    """The types that the columns have in all files together, from what `empty` gives for each file.

    Raises Rejected when they do not go together, and says with which of the `names` that begins.
    """
    return together([table.select(list(columns)) for table in empties], where, names).schema


def in_types(table: pa.Table, schema: pa.Schema, path: str) -> pa.Table:
    """A batch in the types that all files have together. Raises Rejected when a value does not fit."""
    return together([schema.empty_table(), table.select(schema.names)], file_and_folder(path))
