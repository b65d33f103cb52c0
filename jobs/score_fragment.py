"""The one function that engines map over fragments: read, treat, predict, and leave files that no reader sees yet."""

from __future__ import annotations

import errno
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from jobs.errors import disk_is_full
from jobs.faults import listen_for_faults
from jobs.fragments import FragmentResult, WrittenFile, checksum, file_name, keep_record, known, record_path
from jobs.plan import Fragment
from jobs.predictor import load_predictor
from jobs.source import read, treat
from jobs.spec import ModelSpec
from jobs.steps import step
from jobs.table import predictions_schema, publishable, rejected_schema

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class FragmentTask:
    """All that a worker needs for one fragment; small, and picklable for any engine."""

    fragment: Fragment
    spec: ModelSpec
    partition: str
    version: int
    version_files: str
    predictions_folder: str
    rejected_folder: str
    attempt: str
    fence: int
    key: str


def score_fragment(task: FragmentTask) -> FragmentResult:
    """Score the rows of one fragment: every row is scored, or rejected with a reason.

    What an earlier attempt left of the same fragment is reused if it is intact. Raises Rejected when the file is not
    what the spec says, Misconfigured when the pipeline cannot take its rows, Unavailable when the disk is full, and
    whatever else the pipeline raises.
    """
    listen_for_faults()  # in a worker of any engine
    spec, fragment = task.spec, task.fragment
    predictions_folder, rejected_folder = Path(task.predictions_folder), Path(task.rejected_folder)
    record = record_path(predictions_folder, task.partition, task.key, fragment.number)
    if (before := known(record, predictions_folder, rejected_folder)) is not None:
        return replace(before, reused=True)
    columns = list(dict.fromkeys([*spec.key, *spec.features]))
    table = read(fragment.file, fragment.row_groups, columns)
    where = f"{Path(fragment.file).parent.name}/{Path(fragment.file).name}"
    treated = treat(table, spec, where)
    good = treated.good
    score = load_predictor(task.version_files).score(treated.features[good])
    keys = publishable(treated.keys, where)
    predictions = _predictions(keys.filter(pa.array(good)), score, task.version)
    rejected = _rejected(keys.filter(pa.array(~good)), treated.reason[~good])
    finite = score[np.isfinite(score)]
    step("score:read")
    result = FragmentResult(
        fragment=fragment.number,
        rows_in=table.num_rows,
        rows_scored=predictions.num_rows,
        rows_rejected=rejected.num_rows,
        reasons=dict(Counter(treated.reason[~good].tolist())),
        not_finite=len(score) - len(finite),
        score_min=float(finite.min()) if len(finite) else None,
        score_max=float(finite.max()) if len(finite) else None,
        score_sum=float(finite.sum()),
        predictions=_leave(predictions, predictions_folder, task),
        rejected=_leave(rejected, rejected_folder, task),
    )
    step("score:written")
    keep_record(record, result)
    step("score:recorded")
    return result


def _predictions(keys: pa.Table, score: np.ndarray[Any, Any], version: int) -> pa.Table:
    arrays = [*keys.columns, pa.array(score), pa.array(np.full(len(score), version, dtype=np.int32))]
    return pa.table(arrays, schema=predictions_schema(keys.schema))


def _rejected(keys: pa.Table, reason: np.ndarray[Any, Any]) -> pa.Table:
    return pa.table([*keys.columns, pa.array(reason.tolist(), pa.string())], schema=rejected_schema(keys.schema))


def _leave(table: pa.Table, folder: Path, task: FragmentTask) -> WrittenFile | None:
    """Write a file into the table's folder; it is part of the table once a commit names it."""
    if not table.num_rows:
        return None
    name = file_name(task.partition, task.fence, task.attempt, task.fragment.number)
    path = folder / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd", write_page_checksum=True, coerce_timestamps="us")
    except OSError as error:
        path.unlink(missing_ok=True)
        if error.errno == errno.ENOSPC:
            raise disk_is_full(path.parent) from error
        raise
    return WrittenFile(name, path.stat().st_size, table.num_rows, checksum(path))


def total_reasons(reasons: list[Mapping[str, int]]) -> dict[str, int]:
    """The counts of all fragments together, the most frequent reason first."""
    total: Counter[str] = Counter()
    for counts in reasons:
        total.update(counts)
    return dict(total.most_common())
