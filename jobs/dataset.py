"""What a model is trained and evaluated on: a window of partitions, split by time, joined with their mature labels."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.errors import Misconfigured, MissingPartition, Rejected, texts_of, without_values
from jobs.frames import to_frame
from jobs.inputs import check_source, find_input
from jobs.key_join import any_twice, places_among, without_nulls
from jobs.partition import Partition
from jobs.source import file_and_folder, input_digest, read, with_rows
from jobs.together import together
from jobs.treat import treat

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import pandas as pd

    from jobs.settings import Settings
    from jobs.spec import Label, ModelSpec
    from jobs.spec_storage import Stored

INSTANT = pa.timestamp("us", "UTC")


@dataclass(frozen=True)
class Window:
    """The partitions of a retrain, oldest first. Labels that became known after `as_of` are not used."""

    training: tuple[Partition, ...]
    holdout: tuple[Partition, ...]
    as_of: datetime

    @property
    def partitions(self) -> tuple[Partition, ...]:
        """All of them."""
        return self.training + self.holdout

    @property
    def start(self) -> datetime:
        """Start of the oldest data."""
        return self.training[0].start

    @property
    def end(self) -> datetime:
        """End of the newest data."""
        return self.holdout[-1].end


@dataclass(frozen=True)
class Dataset:
    """Labelled rows, partition by partition, in the order of their keys within each.

    `digest` pins the files that they came from, `keys` name the rows, `extra` holds the further columns that were asked
    for as the source has them (a null is a null of pandas), and `parts` says which rows are of which partition: its
    key, and the keys of its rows in the types that its own files have.
    """

    features: pd.DataFrame
    target: np.ndarray[Any, np.dtype[np.float64]]
    keys: pa.Table
    digest: str
    rows_rejected: int
    rows_unlabelled: int
    extra: pd.DataFrame
    parts: tuple[tuple[str, pa.Table], ...]

    def __len__(self) -> int:
        return len(self.target)


def training_window(spec: ModelSpec, partition: Partition) -> Window:
    """The window of the retrain for `partition`: it ends with the newest partition whose labels are mature by then."""
    calendar = spec.source.calendar
    newest = calendar.ending_at_or_before(partition.end - spec.label.delay)
    everything = calendar.back_from(newest, spec.training.window)
    holdout = calendar.back_from(newest, spec.training.holdout)
    if not holdout or len(everything) <= len(holdout):
        raise Misconfigured(
            f"{spec.model}: training.window and training.holdout leave nothing to train or to evaluate on; "
            f"each must hold whole partitions (one {spec.source.every})."
        )
    return Window(everything[: -len(holdout)], holdout, partition.end)


def load_dataset(
    settings: Settings,
    spec: ModelSpec,
    label: Callable[[pd.DataFrame], pd.Series[Any]],
    partitions: Sequence[Partition],
    as_of: datetime,
    extra: Sequence[str] = (),
) -> Dataset:
    """Read, treat and label the rows of some partitions; `extra` names further columns of the source to bring along.

    Rows that the spec's rules reject and rows whose label is null or was not known at `as_of` are left out and counted.
    Neither the number of a partition's files nor the order of its rows makes a difference. Raises MissingPartition and
    Rejected.
    """
    import pandas as pd

    _all_there(settings, spec, partitions)
    digests, features, targets, keys, extras, rejected, unlabelled = sha256(), [], [], [], [], 0, 0
    for partition in partitions:
        columns = _source_columns(spec, [name for name in extra if name != spec.source.column])
        rows, digest = _read_all(settings, spec, spec.source, partition, columns)
        rows = by_key(rows, spec)
        columns = _label_columns(spec)
        labels, label_digest = _read_all(settings, spec, spec.label, partition, columns)
        digests.update(f"{digest}{label_digest}".encode())
        treated = treat(rows, spec, f"{spec.source.path} {partition}")
        known = _known(labels, spec, as_of, partition)
        target = _target(treated.keys, treated.features, known, spec, label, partition)
        kept = treated.good & ~np.isnan(target)
        mask = pa.array(kept)
        rejected += int((~treated.good).sum())
        unlabelled += int((treated.good & np.isnan(target)).sum())
        features.append(treated.features[kept])
        targets.append(target[kept])
        keys.append(treated.keys.filter(mask))
        extras.append(_further(rows, extra, spec, partition).filter(mask))
    days = [partition.key for partition in partitions]
    return Dataset(
        features=pd.concat(features, ignore_index=True),
        target=np.concatenate(targets),
        keys=together(keys, spec.source.path, days),
        digest=digests.hexdigest(),
        rows_rejected=rejected,
        rows_unlabelled=unlabelled,
        extra=_frame(together(extras, spec.source.path, days), sum(map(len, targets))),
        parts=tuple((partition.key, rows) for partition, rows in zip(partitions, keys, strict=True)),
    )


def by_key(rows: pa.Table, spec: ModelSpec) -> pa.Table:
    """The rows in the order of their keys; rows that share a key in the order of their features."""
    names = list(dict.fromkeys([*spec.key, *spec.features]))
    ranked = pa.table([_sortable(rows[name]) for name in names], names=[str(n) for n in range(len(names))])
    order = [(name, "ascending") for name in ranked.column_names]
    return rows.take(pc.sort_indices(ranked, sort_keys=order))


def _sortable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column, or its values as text where Arrow cannot put them into an order."""
    try:
        pc.sort_indices(column.slice(0, 0))
    except pa.ArrowException:
        return pa.chunked_array([pa.array([repr(value) for value in column.to_pylist()], pa.string())])
    return column


def _further(rows: pa.Table, names: Sequence[str], spec: ModelSpec, partition: Partition) -> pa.Table:
    """Further columns of some rows; the column of the source's partitions is not in its files."""
    further = rows.select([name for name in dict.fromkeys(names) if name != spec.source.column])
    if spec.source.column not in names:
        return further
    return further.append_column(spec.source.column, pa.repeat(partition.key, rows.num_rows))


def _frame(extra: pa.Table, rows: int) -> pd.DataFrame:
    """Further columns as pandas has them, but for whole numbers with nulls, which stay whole."""
    import pandas as pd

    frame = to_frame(extra, integer_object_nulls=True)
    return frame.set_axis(pd.RangeIndex(rows), axis=0) if extra.num_columns else pd.DataFrame(index=range(rows))


def _all_there(settings: Settings, spec: ModelSpec, partitions: Sequence[Partition]) -> None:
    missing, why = [], ""
    for partition in partitions:
        try:
            check_source(settings, spec, partition)
        except MissingPartition as error:
            missing.append(partition.key)
            why = why or str(error)
    if missing:
        raise MissingPartition(
            f"{spec.source.path} lacks {len(missing)} of the {len(partitions)} partitions that {spec.model} needs, the "
            f"first {missing[0]}, the last {missing[-1]}: deliver them, or take another partition or a shorter window. "
            f"About the first: {why}"
        )


def _source_columns(spec: ModelSpec, extra: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([*spec.key, *spec.features, *extra]))


def _label_columns(spec: ModelSpec) -> list[str]:
    known_at = [spec.label.known_at] if spec.label.known_at else []
    return list(dict.fromkeys([*spec.key, *spec.label.columns, *known_at]))


def _read_all(
    settings: Settings, spec: ModelSpec, stored: Stored, partition: Partition, columns: list[str]
) -> tuple[pa.Table, str]:
    files = find_input(settings, spec, partition, stored).files
    filled = with_rows(files)
    tables = [read(file.path, None, columns) for file in filled]
    names = [file_and_folder(file.path) for file in filled]
    return together(tables, f"{stored.path} {partition}", names), input_digest(files)


def _known(labels: pa.Table, spec: ModelSpec, as_of: datetime, partition: Partition) -> pa.Table:
    """The labels that were known by then, of rows that have a key."""
    labels, where = without_nulls(labels, spec.key), f"{spec.label.path} {partition}"
    if spec.label.known_at:
        known_at = _instants(labels[spec.label.known_at], spec.label, where)
        labels = labels.filter(pc.less_equal(known_at, pa.scalar(as_of, INSTANT)).fill_null(fill_value=False))
    if any_twice(labels.select(list(spec.key))):
        raise Rejected(f"{where} has two labels for one key: deliver one label for each row.")
    return labels


def _instants(column: pa.ChunkedArray, label: Label, where: str) -> pa.ChunkedArray:
    """When labels were known, by timestamps, days or texts; without a zone they are in UTC."""
    found = column.type
    if pa.types.is_timestamp(found) or pa.types.is_date(found):
        if not (pa.types.is_timestamp(found) and found.tz):
            column = column.cast(pa.timestamp("us"), safe=False)
        return column.cast(INSTANT, safe=False)
    if pa.types.is_null(found):
        return column.cast(INSTANT)
    if not (pa.types.is_string(found) or pa.types.is_large_string(found)):
        raise Rejected(f"{where}: {label.known_at} is {found}, and no instant: deliver a timestamp, day or text.")
    import pandas as pd

    try:
        known_at = pd.to_datetime(column.to_pandas(), utc=True)
    except (ValueError, TypeError) as error:
        said = without_values(error, filter(None, column.unique().to_pylist()))
        raise Rejected(f"{where}: {label.known_at} is no instant: {said}.") from None
    return pa.chunked_array([pa.Array.from_pandas(known_at).cast(INSTANT, safe=False)])


def _target(
    keys: pa.Table,
    features: pd.DataFrame,
    labels: pa.Table,
    spec: ModelSpec,
    label: Callable[[pd.DataFrame], pd.Series[Any]],
    partition: Partition,
) -> np.ndarray[Any, np.dtype[np.float64]]:
    joined = _joined(keys, labels, spec, partition)
    joined = joined.join(features[[name for name in features.columns if name not in joined.columns]])
    try:
        target = _numbers(_in_order(label(joined), joined.index))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's code raises
        said = without_values(error, texts_of(joined))
        there = ", ".join(f"{name} is {labels.schema.field(name).type}" for name in spec.label.columns)
        raise Misconfigured(
            f"label() of {spec.model} must return numbers, and failed for {spec.label.path} "
            f"{partition}, where {there}: {said}."
        ) from None
    if target.shape != (keys.num_rows,):
        raise Misconfigured(f"label() of {spec.model} must return one value for each row of the frame it is given.")
    return target


def _in_order(found: pd.Series[Any], rows: pd.Index[Any]) -> pd.Series[Any]:
    """What label() gave in the order of the rows: a Series of as many says by its index which row is whose."""
    index = getattr(found, "index", None)
    if index is None or callable(index) or len(index) != len(rows) or index.equals(rows):
        return found
    if not index.is_unique or not index.isin(rows).all():
        raise ValueError("the index of its Series is not that of the frame")
    return found.reindex(rows)


def _numbers(found: pd.Series[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """What label() gave, as float64. Raises TypeError for instants and durations, which NumPy would count."""
    kind = np.asarray(found).dtype
    if kind.kind in "mM":
        raise TypeError(f"it gave {kind}")
    return np.asarray(found, dtype=np.float64)


def _joined(keys: pa.Table, labels: pa.Table, spec: ModelSpec, partition: Partition) -> pd.DataFrame:
    """The key and the label's columns of each row, which are NaN for a row without a label."""
    try:
        places = places_among(keys, labels.select(keys.column_names))
    except pa.ArrowException as error:
        raise Rejected(
            f"The key has another type in {spec.label.path} {partition} than in {spec.source.path}: deliver both alike."
        ) from error
    columns = [name for name in spec.label.columns if name not in keys.column_names]
    taken = to_frame(labels.select(columns).take(pa.array(places, mask=places < 0)))
    for name in columns:
        if taken[name].dtype == object:
            taken[name] = taken[name].where(places >= 0, np.nan)
    return to_frame(keys, integer_object_nulls=True).join(taken)
