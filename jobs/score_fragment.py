"""The one function that engines map over fragments: read, treat, predict, and leave files that no reader sees yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from jobs.batches import BATCH_ROWS, read_batches
from jobs.errors import Rejected
from jobs.faults import listen_for_faults
from jobs.fragment_file import FragmentFile
from jobs.fragments import FragmentResult, file_name, keep_record, known, record_path
from jobs.key_types import publishable
from jobs.plan import Fragment
from jobs.score_statistics import ScoreStatistics
from jobs.scorer import load_scorer
from jobs.shadow import Shadow, ShadowTask
from jobs.source import file_and_folder, is_untouched
from jobs.spec import FeatureKind, ModelSpec
from jobs.steps import step
from jobs.storage import Place, place
from jobs.table import predictions_of, rejected_schema
from jobs.treat import treat

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class FragmentTask:
    """All that a worker needs for one fragment; small, and picklable for any engine.

    `stamp` is that of the file when it was planned, `key_types` are those that the columns of the key have in all files
    together.
    """

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
    stamp: str
    key_types: pa.Schema
    shadow: ShadowTask | None = None


def score_fragment(task: FragmentTask) -> FragmentResult:
    """Score the rows of one fragment, batch by batch: every row is scored, or rejected with a reason.

    What an earlier attempt left of the same fragment is reused if it is intact. Raises Rejected when the file is not
    what the spec says, or was written since it was planned, Misconfigured when the pipeline cannot take its rows,
    Unavailable when the disk is full, and whatever else the pipeline raises.
    """
    listen_for_faults()  # in a worker of any engine
    fragment, reasons, total = task.fragment, Counter[str](), ScoreStatistics()
    if (before := _before(task)) is not None:
        return replace(before, reused=True)
    as_planned(fragment.file, task.stamp)
    rows_in = 0
    name = file_name(task.partition, task.fence, task.attempt, fragment.number)
    with (
        FragmentFile(task.predictions_folder, name) as good,
        FragmentFile(task.rejected_folder, name) as bad,
        Shadow(task.shadow, name) as shadow,
    ):
        for predictions, rejected in _scored(task, shadow):
            rows_in += len(predictions) + (len(rejected) if rejected else 0)
            total.add(predictions["score"].to_numpy())
            step("score:read")
            good.write(predictions)
            if rejected:
                reasons.update(rejected["reason"].to_pylist())
                bad.write(rejected)
        as_planned(fragment.file, task.stamp)  # still, after it was read
    result = FragmentResult(
        fragment=fragment.number,
        rows_in=rows_in,
        rows_scored=good.rows,
        rows_rejected=bad.rows,
        reasons=dict(reasons),
        not_finite=total.not_finite,
        score_min=total.smallest,
        score_max=total.largest,
        score_sum=total.sum,
        predictions=good.written(),
        rejected=bad.written(),
        shadow=shadow.written(),
        shadow_fault=shadow.fault,
    )
    step("score:written")
    keep_record(_record(task), result)
    step("score:recorded")
    return result


def as_planned(path: str, stamp: str) -> None:
    """Raise Rejected when a file was written since it was planned; one that is gone is told by who reads it."""
    if not is_untouched(path, stamp) and place(path).exists():
        raise Rejected(f"{file_and_folder(path)} was changed after it was planned: run plan and input-gate again.")


def _record(task: FragmentTask) -> Place:
    return record_path(place(task.predictions_folder), task.partition, task.key, task.fragment.number)


def _before(task: FragmentTask) -> FragmentResult | None:
    """What an earlier attempt left of the fragment, intact."""
    shadow = place(task.shadow.folder) if task.shadow else None
    return known(_record(task), place(task.predictions_folder), place(task.rejected_folder), shadow)


def _scored(task: FragmentTask, shadow: Shadow) -> Iterator[tuple[pa.Table, pa.Table | None]]:
    """The predictions and the rejected rows of each batch of the fragment, which the shadow scores beside it."""
    spec, fragment = task.spec, task.fragment
    columns = list(dict.fromkeys([*spec.key, *spec.features]))
    where = file_and_folder(fragment.file)
    scorer = load_scorer(task.version_files)
    texts = [name for name, feature in spec.features.items() if feature.kind is FeatureKind.category]
    rows = BATCH_ROWS if fragment.rows <= BATCH_ROWS else BATCH_ROWS // 2  # the next is read while one is held
    rows = min(rows, spec.engine.rows_per_fragment)  # so wide a table that somebody asked for less
    for table in read_batches(fragment.file, fragment.row_groups, columns, rows, dictionaries=texts):
        treated = treat(table, spec, where)
        good = treated.good
        score = scorer.score(table, treated, where)
        keys, rejected = publishable(treated.keys, where, task.key_types), None
        if not good.all():
            rejected = pa.table(
                [*keys.filter(pa.array(~good)).columns, treated.why()], schema=rejected_schema(keys.schema)
            )
            keys = keys.filter(pa.array(good))
        shadow.score(table, treated, keys, where)
        yield predictions_of(keys, score, task.version), rejected


def total_reasons(reasons: list[Mapping[str, int]]) -> dict[str, int]:
    """The counts of all fragments together, the most frequent reason first."""
    total: Counter[str] = Counter()
    for counts in reasons:
        total.update(counts)
    return dict(total.most_common())
