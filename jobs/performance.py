"""How good published scores were, once the labels came in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from jobs.dataset import load_dataset
from jobs.errors import Misconfigured
from jobs.key_join import places_among
from jobs.metrics import measure
from jobs.own_files import checked, files_kept
from jobs.spec_file import load_pipeline_module
from jobs.table import PARTITION, open_table, predictions_path
from jobs.table_state import must_be_supported, must_have_key

if TYPE_CHECKING:
    from datetime import datetime

    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec


@dataclass(frozen=True)
class Performance:
    """The metrics of a published partition over the rows whose labels are known."""

    partition: str
    rows: int
    metrics: dict[str, float]


def performance(settings: Settings, spec: ModelSpec, partition: Partition, as_of: datetime) -> Performance:
    """Join the published scores of a partition with the labels known at `as_of`, and measure them.

    Raises Misconfigured when the partition is not published, or its table has another key or a feature that is not
    supported, MissingPartition when it has no labels yet.
    """
    path = predictions_path(settings, spec)
    table = open_table(path)
    if table is None:
        raise Misconfigured(f"{spec.model} has no published predictions yet.")
    must_be_supported(table, path)
    must_have_key(table, path, spec.key)
    wanted = {"columns": [*spec.key, "score"], "filter": pc.field(PARTITION) == partition.key}
    with files_kept(path, spec.model, partition.key):
        scores = table.to_pyarrow_dataset().to_table(**wanted, fragment_scan_options=checked())
    if not len(scores):
        raise Misconfigured(f"{spec.model} {partition} is not published yet.")
    label = load_pipeline_module(settings.models, spec.model).label
    labelled = load_dataset(settings, spec, label, [partition], as_of)
    places = places_among(labelled.keys, scores.select(list(spec.key)))
    there = places >= 0
    if not there.any():
        return Performance(partition.key, 0, {})
    score = scores["score"].to_numpy()[places[there]]
    return Performance(partition.key, int(there.sum()), measure(spec.task, labelled.target[there], score))
