"""The one reading of data: which files a partition has, and how their rows become features.

Training, evaluation and scoring all read through `treat`, so that a null is the same null everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.errors import LamplighterError, Misconfigured, MissingPartition, Rejected, without_values
from jobs.readiness import parquet_paths, partition_folder, waiting_for
from jobs.spec import FeatureKind
from jobs.storage import Place, arrow, place, trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import Feature, ModelSpec
    from jobs.spec_schedule import Ready

NULL_KEY = "null_key"
NONE = np.array(None, dtype=object)
BROKEN = (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError)
"""What reading a broken file raises; names of columns may be no UTF-8."""


@dataclass(frozen=True)
class SourceFile:
    """A Parquet file of a partition, with the rows of each of its row groups."""

    path: str
    size: int
    row_groups: tuple[int, ...]


@dataclass(frozen=True)
class Treated:
    """Rows as a pipeline gets them. `reason` holds, row by row, why a row is rejected, or None."""

    features: pd.DataFrame
    keys: pa.Table
    reason: np.ndarray[Any, np.dtype[np.object_]]

    @property
    def good(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """True for the rows that are not rejected."""
        good: np.ndarray[Any, np.dtype[np.bool_]] = np.equal(self.reason, NONE).astype(np.bool_)
        return good


def source_files(settings: Settings, spec: ModelSpec, partition: Partition) -> list[SourceFile]:
    """The Parquet files of a partition of a model's source. See `partition_files`."""
    source = spec.source
    return partition_files(settings.data, source.path, source.column, partition, source.ready)


def label_files(settings: Settings, spec: ModelSpec, partition: Partition) -> list[SourceFile]:
    """The Parquet files of a partition of a model's labels. See `partition_files`."""
    return partition_files(settings.data, spec.label.path, spec.source.column, partition, spec.label.ready)


def partition_files(
    data: Place, path: str, column: str, partition: Partition, ready: Ready | None = None
) -> list[SourceFile]:
    """The Parquet files of a partition, in the order of their names, from metadata alone.

    Raises MissingPartition when there are none yet or the partition is not ready by its rule, Rejected when one is not
    a Parquet file.
    """
    folder = partition_folder(data, path, column, partition)
    paths = parquet_paths(folder)
    if not paths:
        raise MissingPartition(
            f"{path} has no files for {partition}: expected Parquet files in {column}={partition.key}. "
            f"Wait for the feed, or check source.path and LAMPLIGHTER_DATA."
        )
    lacks = waiting_for(folder, ready) if ready is not None else None
    if lacks is not None:
        raise MissingPartition(
            f"{path} {partition} is not ready: {lacks}. Wait for the feed, or check the spec's rule."
        )
    return [_source_file(p) for p in paths]


def _source_file(path: Place) -> SourceFile:
    metadata = _open(path).metadata
    groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    return SourceFile(str(path), path.stat().st_size, groups)


def _open(path: str | Place) -> pq.ParquetFile:
    """A file that is read page by page: no more of it is in memory than what is asked for."""
    try:
        where, files = arrow(place(str(path)))
        file = pq.ParquetFile(
            where, filesystem=files, page_checksum_verification=True, pre_buffer=False, buffer_size=1 << 20
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
    """The error to raise for a file that is broken somewhere, or that its store does not give."""
    if (known := trouble(path, error)) is not None:
        return known
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
    return Rejected(f"{_named(path)} cannot be read as Parquet: {reason}. Deliver it again.")


def _named(path: str | Place) -> str:
    where = place(str(path))
    return f"{where.name} in {where.parent.name}"


def file_and_folder(path: str | Place) -> str:
    """How messages name a file: its partition's folder and its name."""
    where = place(str(path))
    return f"{where.parent.name}/{where.name}"


def input_digest(files: Sequence[SourceFile]) -> str:
    """A sha256 over the names and the whole content of the files, in their order."""
    total = sha256()
    for file in files:
        path = place(file.path)
        with path.open("rb") as content:
            total.update(path.name.encode() + b"\0")
            while block := content.read(1 << 20):
                total.update(block)
    return total.hexdigest()


def open_with(path: str, columns: Sequence[str]) -> pq.ParquetFile:
    """A file that has these columns, each once. Raises Rejected, naming file and column, when it has not."""
    file = _open(path)
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
            table[name].validate(full=True)
        except pa.ArrowInvalid:
            raise Rejected(
                f"{_named(path)}: the column {name} holds text that is not UTF-8: deliver it as UTF-8."
            ) from None


def together(tables: Sequence[pa.Table], where: str) -> pa.Table:
    """The rows of several files as one table, whichever of them have dictionaries or a column without any value.

    Raises Rejected when a column has types that do not go together; `where` says where in that message.
    """
    try:
        return pa.concat_tables([_decoded(table) for table in tables], promote_options="permissive")
    except pa.ArrowException as error:
        raise Rejected(
            f"{where}: the files differ in the type of a column: {without_values(error)}. Deliver one type."
        ) from None


def _decoded(table: pa.Table) -> pa.Table:
    fields = [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in table.schema]
    return table.cast(pa.schema(fields))


def treat(table: pa.Table, spec: ModelSpec, where: str) -> Treated:
    """The rows of a table as features, with the reason why a row is rejected.

    A null, a NaN and a None are all NaN in the features. Raises Rejected when a column has a type that its kind does
    not allow; `where` names the file in that message.
    """
    import pandas as pd

    reason = np.full(table.num_rows, None, dtype=object)
    for name in spec.key:
        _mark(reason, pc.is_null(table[name], nan_is_null=True).to_numpy(), NULL_KEY)
    columns = {}
    for name, feature in spec.features.items():
        columns[name] = values = feature_values(table[name], name, feature.kind, where)
        _apply_rules(reason, name, feature, values)
    index = pd.RangeIndex(table.num_rows)
    return Treated(pd.DataFrame(columns, index=index, copy=False), table.select(list(spec.key)), reason)


def feature_values(column: pa.ChunkedArray, name: str, kind: FeatureKind, where: str) -> np.ndarray[Any, Any]:
    """The values of a feature's column, shape (rows,): float64, or object of str; a null of any sort is NaN.

    Raises Rejected, naming file (`where`) and column, when the type is not one that the kind allows.
    """
    found = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(found):
        fill = np.nan
        return np.full(len(column), fill, dtype=object if kind is FeatureKind.category else np.float64)
    if kind is FeatureKind.category:
        if not (pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_integer(found)):
            raise _wrong_type(name, found, "text", where)
        values = column.cast(pa.string()).to_pandas().to_numpy(dtype=object, copy=True)
        values[np.equal(values, NONE)] = np.nan
        return values  # type: ignore[no-any-return]
    numeric = pa.types.is_integer(found) or pa.types.is_floating(found) or pa.types.is_decimal(found)
    if kind is FeatureKind.flag and not pa.types.is_boolean(found):
        raise _wrong_type(name, found, "true or false", where)
    if kind is FeatureKind.number and not numeric:
        raise _wrong_type(name, found, "a number", where)
    return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)  # type: ignore[no-any-return]


def _wrong_type(name: str, found: pa.DataType, wanted: str, where: str) -> Rejected:
    return Rejected(
        f"{where}: the column {name} is {found}, and the spec wants {wanted}: deliver it so, or change the spec."
    )


def _apply_rules(reason: np.ndarray[Any, Any], name: str, feature: Feature, values: np.ndarray[Any, Any]) -> None:
    is_number = values.dtype != object
    null = np.isnan(values) if is_number else np.not_equal(values, values)
    if feature.required:
        _mark(reason, null, f"{name}:null")
    if is_number:
        _mark(reason, np.isinf(values), f"{name}:infinite")
        if feature.at_least is not None:
            _mark(reason, values < feature.at_least, f"{name}:below_minimum")
        if feature.at_most is not None:
            _mark(reason, values > feature.at_most, f"{name}:above_maximum")


def _mark(reason: np.ndarray[Any, Any], where: np.ndarray[Any, Any], code: str) -> None:
    """Give a reason to rows that have none yet: the first rule that a row breaks is the one that is reported."""
    reason[where.astype(bool) & np.equal(reason, NONE)] = code


def check_columns(spec: ModelSpec) -> None:
    """Raise Misconfigured when the label's columns would be visible to the pipeline."""
    leaked = sorted(set(spec.label.columns) & set(spec.features))
    if leaked:
        raise Misconfigured(
            f"The label's column {', '.join(leaked)} is a feature too: the model would know the answer."
        )
