"""What the machine can do at best: read, predict and write, each apart on all cores, with nothing else to do."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import flights
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CORES = len(os.sched_getaffinity(0))
AT_ONCE = 16


def limit(home: Path, model: str, out: Path) -> Callable[[], None]:
    """The version's own compiled form over the same files; some row groups at a time, so that memory stays small."""
    from jobs.context import JobContext
    from jobs.fragment_file import options
    from jobs.scorer import load_scorer
    from jobs.settings import Settings
    from model_registry.artifacts import verified
    from model_registry.resolution import resolve

    settings = Settings.from_environment()
    job = JobContext.create(settings, model, str(flights.SCORED), "limit")
    version = resolve(job.registry(), model, "as-of", job.partition.start)
    form: Any = load_scorer(str(verified(job.registry().store, version, settings.cache))).form
    files = sorted(flights.partition_folder(home, flights.SCORED).iterdir())
    groups = [(path, n) for path in files for n in range(pq.read_metadata(path).num_row_groups)]
    out.mkdir(parents=True, exist_ok=True)

    def read(group: tuple[Path, int]) -> pa.Table:
        file = pq.ParquetFile(group[0], read_dictionary=flights.CATEGORIES)
        return file.read_row_group(group[1], columns=["flight_id", *flights.FEATURES], use_threads=False)

    def predict(table: pa.Table) -> pa.Table:
        score = pa.array(form.score(table, "the benchmark"))
        version = np.ones(len(score), np.int32)
        return pa.table({"flight_id": table["flight_id"], "score": score, "model_version": version})

    def write(numbered: tuple[int, pa.Table]) -> None:
        pq.write_table(numbered[1], out / f"{numbered[0]}.parquet", **options(numbered[1].schema))

    def run() -> None:
        with ThreadPoolExecutor(CORES) as pool:
            for start in range(0, len(groups), AT_ONCE):
                tables = list(pool.map(read, groups[start : start + AT_ONCE]))
                scored = list(pool.map(predict, tables))
                list(pool.map(write, enumerate(scored, start)))

    return run
