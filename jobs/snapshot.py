"""The rows that a version was trained and evaluated on, kept for good: a file a partition, named by its content.

The digest is over the values in a canonical form, so that neither the files of the source nor those of the snapshot
decide: the same rows give the same digest and no new file, and a window that slides by a partition adds one file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.content_digest import canonical, content_digest
from jobs.errors import TamperedSnapshot, disk_is_full, is_full_disk
from jobs.settings import make_folder
from jobs.spec import FeatureKind
from model_registry.codec import digest

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pandas as pd

    from jobs.dataset import Dataset
    from jobs.spec import ModelSpec

KEY, FEATURE, TARGET = "key:", "feature:", "target"
SNAPSHOT_FILE = "snapshot.json"


@dataclass(frozen=True)
class SnapshotPart:
    """The rows of one partition: the digest of their content, and how many they are."""

    partition: str
    digest: str
    rows: int


@dataclass(frozen=True)
class Snapshot:
    """All rows that a version was trained and evaluated on, oldest partition first."""

    model: str
    training: tuple[SnapshotPart, ...]
    holdout: tuple[SnapshotPart, ...]

    @property
    def digest(self) -> str:
        """What pins the whole snapshot."""
        return digest(self)

    @property
    def rows(self) -> int:
        """How many rows were trained on."""
        return sum(part.rows for part in self.training)

    def find(self, partition: str) -> tuple[str, SnapshotPart] | None:
        """`training` or `holdout`, and the part of that partition; None when the snapshot does not have it."""
        for role, parts in (("training", self.training), ("holdout", self.holdout)):
            for part in parts:
                if part.partition == partition:
                    return role, part
        return None


@dataclass(frozen=True)
class Rows:
    """What a pipeline is fitted on; features as `jobs.treat.treat` gives them, target of shape (rows,)."""

    features: pd.DataFrame
    target: np.ndarray[Any, np.dtype[np.float64]]


def part_tables(dataset: Dataset) -> dict[str, pa.Table]:
    """The rows of each partition as a table in the canonical form: columns `key:...`, `feature:...` and `target`."""
    tables, start = {}, 0
    for partition, keys in dataset.parts:
        end = start + keys.num_rows
        columns = {KEY + name: canonical(keys[name]) for name in keys.column_names}
        for name, values in dataset.features.iloc[start:end].items():
            is_text = values.dtype == object
            kind = pa.large_string() if is_text else pa.float64()
            columns[f"{FEATURE}{name}"] = pa.chunked_array([pa.array(values.to_numpy(), kind, from_pandas=is_text)])
        columns[TARGET] = pa.chunked_array([pa.array(dataset.target[start:end], pa.float64())])
        tables[partition] = pa.table(columns)
        start = end
    return tables


def rows_of(tables: Iterable[pa.Table], spec: ModelSpec) -> Rows:
    """The rows of some parts together, in the form that the pipeline is fitted on."""
    import pandas as pd

    wanted = [*(FEATURE + name for name in spec.features), TARGET]
    table = pa.concat_tables([part.select(wanted) for part in tables])
    columns = {}
    for name, feature in spec.features.items():
        if feature.kind is FeatureKind.category:
            columns[name] = values = table[FEATURE + name].to_pandas().to_numpy(dtype=object, copy=True)
            values[pd.isna(values)] = np.nan
        else:
            columns[name] = table[FEATURE + name].to_numpy()
    return Rows(pd.DataFrame(columns, index=pd.RangeIndex(len(table)), copy=False), table[TARGET].to_numpy())


def keep_parts(root: Path, model: str, tables: dict[str, pa.Table]) -> tuple[SnapshotPart, ...]:
    """Keep the rows of each partition below `root`, unless they are there already; a spoiled file is replaced.

    Raises Misconfigured when the folder cannot be made, and Unavailable when the disk is full.
    """
    make_folder(root, "LAMPLIGHTER_SNAPSHOTS")
    return tuple(_keep_part(root, model, partition, table) for partition, table in tables.items())


def part_path(root: Path, model: str, pinned: str) -> Path:
    """Where the part with this digest is."""
    return root / model / pinned[:2] / f"{pinned}.parquet"


def read_part(root: Path, model: str, part: SnapshotPart) -> pa.Table:
    """The rows of a part, verified. Raises TamperedSnapshot, naming the part, when they are not those of its digest."""
    path = part_path(root, model, part.digest)
    try:
        table = pq.ParquetFile(path, page_checksum_verification=True).read(use_threads=False)
    except FileNotFoundError:
        raise _tampered(model, part, "is missing") from None
    except MemoryError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise _tampered(model, part, "cannot be read") from error
    if content_digest(table) != part.digest:
        raise _tampered(model, part, "was changed")
    return table


def _keep_part(root: Path, model: str, partition: str, table: pa.Table) -> SnapshotPart:
    part = SnapshotPart(partition, content_digest(table), table.num_rows)
    try:
        read_part(root, model, part)
    except TamperedSnapshot:
        _write(part_path(root, model, part.digest), table)
    return part


def _write(path: Path, table: pa.Table) -> None:
    """Write beside and rename: who looks for the digest finds the whole file or none, whoever else writes it too."""
    temporary = path.with_name(f".{path.stem}.{uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="zstd", write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if is_full_disk(error):
            raise disk_is_full(path.parent) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _tampered(model: str, part: SnapshotPart, what: str) -> TamperedSnapshot:
    return TamperedSnapshot(
        f"The part {part.partition} of a snapshot of {model} ({part.digest[:12]}, {part.rows:,} rows) {what}: bring "
        f"{model}/{part.digest[:2]}/{part.digest}.parquet back into LAMPLIGHTER_SNAPSHOTS from a backup, or train the "
        f"same partition again, which writes it anew when the source still has the same rows."
    )
