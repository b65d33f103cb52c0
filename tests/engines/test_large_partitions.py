"""A partition of any size is judged, scored, judged again and published in the memory of a small one, on each engine.

The memory of the whole tree of processes is measured from outside. The long form gives the tree a limit, and a
partition of ten times of it.
"""

import json
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Shop, copy_shop

SMALL, LARGE = "2026-01-16", "2026-01-17"
WIDTH = 200
ROW_GROUP = 100_000
ROWS = 2 * ROW_GROUP  # something for each of two workers
BYTES_PER_ROW = WIDTH + 8 + 20 + 8 + 1
GIGABYTE = 1 << 30
LIMITS = {"local": 1 * GIGABYTE, "dask": 2 * GIGABYTE, "spark": 2.5 * GIGABYTE}
WORK = """
import sys
from jobs.context import JobContext
from jobs.rescore import score_partition
from jobs.settings import Settings
if __name__ == "__main__":
    job = JobContext.create(Settings.from_environment(), "toys", sys.argv[1], sys.argv[2])
    print(score_partition(job).sentence())
"""
CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_values_to_not_be_null", {"column": "colour"}),
    ("expect_column_values_to_be_between", {"column": "price", "min_value": 0, "max_value": 1000, "mostly": 0.9}),
    ("expect_column_values_to_be_unique", {"column": "toy_id"}),
    ("expect_column_median_to_be_between", {"column": "price", "min_value": 1}),
    ("expect_column_stdev_to_be_between", {"column": "price", "min_value": 1}),
    ("expect_column_unique_value_count_to_be_between", {"column": "colour", "max_value": 2000}),
]


@dataclass(frozen=True)
class Ended:
    """How a tree of processes ended, and the most memory that it had at once, in bytes."""

    code: int
    peak: int
    seconds: float
    said: str


def run(shop: Shop, partition: str, name: str, limit: float = float("inf")) -> Ended:
    """Score a partition in a child process, and kill the whole tree when it has more memory than the limit."""
    home, models = str(shop.settings.home), str(shop.settings.models)
    variables = {"LAMPLIGHTER_HOME": home, "LAMPLIGHTER_MODELS": models, "OMP_NUM_THREADS": "1"}
    begun, peak = time.monotonic(), 0
    log, script = shop.root / f"{name}-{partition}.log", shop.root / "work.py"
    script.write_text(WORK)  # a main module without a file makes pyspark end the process
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, str(script), partition, name], stdout=out, stderr=out, env=os.environ | variables
        )
        root = psutil.Process(child.pid)
        while child.poll() is None:
            tree = [root]
            with suppress(psutil.Error):
                tree += root.children(recursive=True)
            peak = max(peak, memory(tree))
            if peak > limit:
                for process in reversed(tree):
                    with suppress(psutil.Error):
                        process.kill()
            time.sleep(0.05)
    return Ended(child.returncode, peak, time.monotonic() - begun, log.read_text()[-2000:])


def memory(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def deliver(shop: Shop, partition: str, rows: int) -> None:
    """One file with wide texts, in row groups that are larger than a batch."""
    for old in shop.sales(partition).iterdir():
        old.unlink()
    random = np.random.default_rng(5)
    texts = pa.array([f"{n:04d}".ljust(WIDTH, "x") for n in range(1000)])
    schema = pa.schema(
        [("toy_id", pa.string()), ("colour", pa.string()), ("price", pa.float64()), ("wrapped", pa.bool_())]
    )
    with pq.ParquetWriter(shop.sales(partition) / "part-0.parquet", schema, write_page_checksum=True) as writer:
        for start in range(0, rows, ROW_GROUP):
            count = min(ROW_GROUP, rows - start)
            numbers = pa.array(np.arange(start, start + count)).cast(pa.string())
            keys = pa.compute.binary_join_element_wise("key-of-a-toy", numbers, "-")
            colour = pa.DictionaryArray.from_arrays(pa.array(random.integers(0, 1000, count)), texts).cast(pa.string())
            price = np.where(random.random(count) < 0.001, -1.0, random.random(count) * 900)
            columns = [keys, colour, pa.array(price), pa.array(random.random(count) < 0.5)]
            writer.write_table(pa.table(columns, schema=schema), row_group_size=count)


def prepare(source: Path, target: Path, engine: str) -> Shop:
    shop = copy_shop(source, target)
    checks = json.dumps([{"expectation": name, "arguments": arguments} for name, arguments in CHECKS])
    text = (shop.settings.models / "toys" / "model.yaml").read_text()
    text = re.sub(r"input_checks:\n(  - .*\n)+", lambda _: f"input_checks: {checks}\n", text)
    chosen = f"engine: {{name: {engine}, workers: 2, rows_per_fragment: 50000}}"
    shop.write_model(spec=re.sub(r"engine: {.*}", chosen, text))
    return shop


@pytest.mark.parametrize(
    "engine", ["local", *(pytest.param(name, marks=pytest.mark.chaos) for name in ("dask", "spark"))]
)
def test_ten_times_the_rows_take_the_memory_of_one_time(
    engine: str, trained_home: Path, tmp_path: Path, record_property: Any
) -> None:
    shop = prepare(trained_home, tmp_path / "world", engine)
    deliver(shop, SMALL, ROWS)
    deliver(shop, LARGE, 10 * ROWS)
    small, large = run(shop, SMALL, engine), run(shop, LARGE, engine)
    assert (small.code, large.code) == (0, 0), small.said + large.said
    published = [
        int(re.search(r"([\d,]+) rows by version", ended.said)[1].replace(",", "")) for ended in (small, large)
    ]
    assert 0.99 * ROWS < published[0] < ROWS
    assert 9.9 * ROWS < published[1] < 10 * ROWS
    added = 9 * ROWS * BYTES_PER_ROW
    for name, ended in (("small", small), ("large", large)):
        record_property(f"{engine} {name} MB", ended.peak >> 20)
        sys.stdout.write(f"{engine} {name}: {ended.peak >> 20} MB, {ended.seconds:.1f} s\n")
    # a busy machine moves either peak by some tens of megabytes
    assert large.peak - small.peak < 0.4 * added, f"{small.peak >> 20} MB and {large.peak >> 20} MB"


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("engine", ["local", "dask", "spark"])
def test_a_partition_of_ten_times_the_limit_finishes_within_it(
    engine: str, trained_home: Path, tmp_path: Path, record_property: Any
) -> None:
    shop = prepare(trained_home, tmp_path / "world", engine)
    limit = LIMITS[engine]
    rows = int(10 * limit / BYTES_PER_ROW) + 1
    deliver(shop, LARGE, rows)
    ended = run(shop, LARGE, engine, limit)
    sys.stdout.write(
        f"{engine}: {rows:,} rows, {ended.peak >> 20} MB of {int(limit) >> 20} MB, {ended.seconds:.0f} s\n"
    )
    assert ended.code == 0, f"{ended.peak >> 20} MB: {ended.said}"
    assert ended.peak <= limit
