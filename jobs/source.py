"""Which files a partition has, and how they are read; jobs/treat.py makes features of their rows."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import (
    LamplighterError,
    Misconfigured,
    MissingFile,
    MissingPartition,
    Rejected,
    Unavailable,
    out_of_memory,
    printable,
)
from jobs.readiness import has_files, parquet_paths, partition_folder, waiting_for
from jobs.storage import Place, arrow, place, stamp_of, trouble
from jobs.threads import in_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.partition import Partition
    from jobs.spec import ModelSpec
    from jobs.spec_schedule import Ready

BROKEN = (pa.ArrowException, OSError, UnicodeError, OverflowError)
"""What reading a broken file raises; names of columns, and of the file, may be no UTF-8."""
ODD = {errno.EINVAL, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ENXIO, errno.EOVERFLOW}
"""What the system says of a file that is odd. Whatever else it says is about the disk, the network or this process."""


@dataclass(frozen=True)
class SourceFile:
    """A Parquet file of a partition, with the rows of each of its row groups; `stamp` is that of `stamp_of`."""

    path: str
    row_groups: tuple[int, ...]
    stamp: str

    def is_untouched(self) -> bool:
        """Whether it is there, and nobody has written it since. Raises as `is_untouched` does."""
        return is_untouched(self.path, self.stamp)


def is_untouched(path: str, stamp: str) -> bool:
    """Whether a file is there, and has this stamp still. Raises Unavailable and Misconfigured."""
    try:
        return stamp_of(place(path)) == stamp
    except FileNotFoundError:
        return False
    except OSError as error:
        raise unreadable(path, error) from error


def partition_files(
    data: Place, path: str, column: str, partition: Partition, ready: Ready | None = None
) -> list[SourceFile]:
    """The Parquet files of a partition, in the order of their names, from metadata alone.

    Raises MissingPartition when there are none yet or the partition is not ready by its rule, Rejected when one is not
    a Parquet file, or when something else lies beside them.
    """
    folder = partition_folder(data, path, column, partition)
    lacks = waiting_for(folder, ready) if ready is not None and has_files(folder) else None
    if lacks is not None:
        raise MissingPartition(
            f"{path} {partition} is not ready: {lacks}. Wait for the feed, or check the spec's rule."
        )
    paths = parquet_paths(folder, ready)  # now that the rule holds: until then there may be others
    if not paths:
        raise MissingPartition(
            f"{path} has no files for {partition}: expected Parquet files in {column}={partition.key}. "
            f"Wait for the feed, or check source.path and LAMPLIGHTER_DATA."
        )
    return [source_file(p) for p in paths]


def source_file(path: Place) -> SourceFile:
    """A file, from its metadata. Raises as `unreadable` says."""
    with _reading(path):
        stamp = stamp_of(path, patient=True)  # before it is read: what is written now is noticed later
    metadata = _open(path).metadata
    groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    return SourceFile(str(path), groups, stamp)


def _open(path: str | Place, dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """A file that is read page by page: no more of it is in memory than what is asked for."""
    try:
        where, files = arrow(place(str(path)))
        if files is None and Path(where).exists() and not Path(where).is_file():
            raise pa.ArrowInvalid("it is no regular file")  # to open a FIFO is to wait for who writes to it
        file = pq.ParquetFile(
            where,
            filesystem=files,
            read_dictionary=list(dictionaries),
            page_checksum_verification=True,
            pre_buffer=False,
            buffer_size=1 << 18,  # of each column
            coerce_int96_timestamp_unit="us",  # in nanoseconds a date of 9999 is one of the past
        )
        _check_footer(file.metadata)
        _ = file.schema_arrow.names  # may be no UTF-8
    except BROKEN as error:
        raise unreadable(path, error) from error
    return file


def _check_footer(metadata: pq.FileMetaData) -> None:
    """Raise ArrowInvalid when the counts of a footer contradict each other: Parquet has no checksum over it.

    What the footer says of single columns is not asked for: Arrow aborts the process over some of the broken ones.
    """
    rows = [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)]
    if metadata.num_rows != sum(rows) or min(rows, default=0) < 0:
        raise pa.ArrowInvalid("its footer contradicts itself about the number of rows")


def unreadable(path: str | Place, error: Exception) -> LamplighterError:
    """The error to raise for a file that cannot be read.

    Rejected when it is broken or odd; Unavailable when it is gone, its store, disk or network does not give it, or the
    memory is not enough;
    Misconfigured when this user may not read it.
    """
    if isinstance(error, MemoryError):  # Arrow's is one of its own exceptions, too
        return out_of_memory()
    if (known := trouble(path, error)) is not None:
        return known
    if isinstance(error, UnicodeEncodeError):
        return Rejected(f"{_named(path)} has a name that is not UTF-8: deliver it under another one.")
    if isinstance(error, OSError) and error.errno not in {None, *ODD}:
        return _of_the_system(place(str(path)), error)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
    again = "Deliver it unencrypted" if "crypt" in reason else "Deliver it again"
    return Rejected(f"{_named(path)} cannot be read as Parquet: {reason}. {again}.")


@contextmanager
def _reading(path: str | Place) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        raise unreadable(path, error) from error


def _of_the_system(path: Place, error: OSError) -> LamplighterError:
    said = os.strerror(error.errno or 0)
    if isinstance(error, PermissionError):
        return Misconfigured(f"{_named(path)} may not be read ({said}): give the user of this job the right to.")
    if not isinstance(error, FileNotFoundError):
        return Unavailable(f"{_named(path)} cannot be read at the moment ({said}): try again.")
    if isinstance(path, Path) and path.is_symlink():
        return Rejected(f"{_named(path)} cannot be read as Parquet: it is a link to nothing. Deliver it again.")
    return MissingFile(f"{_named(path)} is gone since the files were listed: run plan again.")


def _named(path: str | Place) -> str:
    where = place(str(path))
    return f"{printable(where.name)} in {printable(where.parent.name)}"


def file_and_folder(path: str | Place) -> str:
    """How messages name a file: its partition's folder and its name."""
    where = place(str(path))
    return f"{printable(where.parent.name)}/{printable(where.name)}"


def input_digest(files: Sequence[SourceFile]) -> str:
    """A sha256 over the names of the files and the sha256 of the whole content of each, in their order."""
    paths = [place(file.path) for file in files]
    total = sha256()
    for path, content in zip(paths, in_threads(_content_digest, paths), strict=True):
        total.update(path.name.encode() + b"\0" + content)
    return total.hexdigest()


def _content_digest(path: Place) -> bytes:
    total = sha256()
    with _reading(path), path.open("rb") as content:
        while block := content.read(1 << 20):
            total.update(block)
    return total.digest()


def open_with(path: str, columns: Sequence[str], dictionaries: Sequence[str] = ()) -> pq.ParquetFile:
    """A file that has these columns, each once; texts of `dictionaries` are read as such.

    Raises Rejected, naming file and column, when a column is missing or stands twice.
    """
    file = _open(path, dictionaries)
    present = file.schema_arrow.names
    missing = [name for name in columns if name not in present]
    twice = [name for name in columns if present.count(name) > 1]
    if twice:
        raise Rejected(f"{_named(path)} has two columns {twice[0]}: deliver it with one.")
    if missing:
        raise Rejected(
            f"{_named(path)} has no column {' and no column '.join(missing)}: "
            f"deliver it with the column, or change the spec."
        )
    return file


def read(path: str, row_groups: Sequence[int] | None, columns: Sequence[str]) -> pa.Table:
    """The columns of some row groups (default: all), at once.

    Raises Rejected, naming file and column, when one is missing or stands twice.
    """
    file = open_with(path, columns)
    groups = list(range(file.metadata.num_row_groups)) if row_groups is None else list(row_groups)
    try:
        table = file.read_row_groups(groups, columns=list(columns), use_threads=False)
    except BROKEN as error:
        raise unreadable(path, error) from error
    check_texts(table, path)
    return table


def check_texts(table: pa.Table, path: str | Place) -> None:
    """Raise Rejected, naming file and column, when a text of the table is not UTF-8, or an index points nowhere."""
    for name in table.column_names:
        try:
            for chunk in table[name].chunks:
                _validate(chunk)
        except pa.ArrowInvalid:
            raise Rejected(
                f"{_named(path)}: the column {name} holds text that is not UTF-8: deliver it as UTF-8."
            ) from None


def _validate(chunk: pa.Array) -> None:
    """Raise ArrowInvalid. Of a dictionary's indices the largest says it all, unless a null hides something larger."""
    if pa.types.is_dictionary(chunk.type) and pa.types.is_int32(chunk.type.index_type) and len(chunk):
        content = chunk.indices.buffers()[1]
        places = np.frombuffer(content, np.uint32)[chunk.offset : chunk.offset + len(chunk)]
        if places.max() < len(chunk.dictionary):
            chunk = chunk.dictionary
    chunk.validate(full=True)


def with_rows(files: Sequence[SourceFile]) -> list[SourceFile]:
    """Those of the files that have rows, or all when none has: types of columns without a value are a guess."""
    return [file for file in files if sum(file.row_groups)] or list(files)


def check_columns(spec: ModelSpec) -> None:
    """Raise Misconfigured when the label's columns would be visible to the pipeline."""
    leaked = sorted(set(spec.label.columns) & set(spec.features))
    if leaked:
        raise Misconfigured(
            f"The label's column {', '.join(leaked)} is a feature too: the model would know the answer."
        )
