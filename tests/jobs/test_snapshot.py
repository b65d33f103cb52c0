"""Snapshots: content alone decides about a digest, a file is there whole or not at all, what is read is verified."""

import os
import signal
import subprocess
import sys
import textwrap
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.content_digest import content_digest
from jobs.dataset import Dataset, load_dataset, training_window
from jobs.errors import Misconfigured, Rejected, TamperedSnapshot
from jobs.snapshot import Snapshot, SnapshotPart, keep_parts, part_path, part_tables, read_part, rows_of
from jobs.spec_file import load_pipeline_module
from jobs.train import train

DAY = "2026-01-14"
IN_WINDOW = "2026-01-08"


def load(shop: Any, partition: str = DAY, extra: tuple[str, ...] = ()) -> Dataset:
    job = shop.job(partition)
    label = load_pipeline_module(shop.settings.models, "toys").label
    window = training_window(job.spec, job.partition)
    return load_dataset(shop.settings, job.spec, label, window.partitions, window.as_of, extra)


def files(shop: Any) -> set[str]:
    return {path.name for path in shop.settings.snapshots.rglob("*") if path.is_file()}


def table(rows: int = 3, value: float = 0.5) -> pa.Table:
    return pa.table({"key:id": pa.array([f"r{n}" for n in range(rows)], pa.large_string()), "target": [value] * rows})


def test_the_same_rows_in_other_files_give_the_same_version_and_no_new_file(shop: Any) -> None:
    first = train(shop.job(DAY)).version
    before = files(shop)
    rows = pd.read_parquet(shop.sales(IN_WINDOW)).drop(columns="day", errors="ignore")
    shuffled = rows.sample(frac=1, random_state=1)
    shop.write_sales(IN_WINDOW, shuffled.head(50), "part-0.parquet")
    table = pa.Table.from_pandas(shuffled.tail(70), preserve_index=False)
    dictionary = table.set_column(1, "colour", table["colour"].dictionary_encode())
    shop.write_sales(IN_WINDOW, dictionary, "part-1.parquet")
    again = train(shop.job(DAY)).version
    assert again == first
    assert len(before) == 10
    assert files(shop) == before


def test_a_window_that_slides_by_a_day_adds_one_file(shop: Any) -> None:
    train(shop.job(DAY))
    before = files(shop)
    later = train(shop.job("2026-01-15")).version
    assert later.number == 2
    assert len(files(shop) - before) == 1
    assert before < files(shop)


@pytest.mark.parametrize("column", ["price", "colour", "toy_id"])
def test_one_other_value_is_another_part(shop: Any, column: str) -> None:
    before = part_tables(load(shop))[IN_WINDOW]
    rows = pd.read_parquet(shop.sales(IN_WINDOW) / "part-0.parquet")
    change: dict[str, Any] = {"price": rows["price"][0] + 0.01, "colour": "mauve", "toy_id": "new"}
    rows.loc[0, column] = change[column]
    shop.write_sales(IN_WINDOW, rows)
    if column == "toy_id":
        labels = shop.settings.data / "returns" / f"day={IN_WINDOW}" / "part-0.parquet"
        pd.read_parquet(labels).replace({"toy_id": {rows_of_key(IN_WINDOW): "new"}}).to_parquet(labels, index=False)
    after = part_tables(load(shop))[IN_WINDOW]
    assert after.num_rows == before.num_rows
    assert content_digest(after) != content_digest(before)


def rows_of_key(day: str) -> str:
    return f"{date.fromisoformat(day):%j}-0"


def test_rows_that_share_a_key_have_an_order_too(shop: Any) -> None:
    rows = pd.read_parquet(shop.sales(IN_WINDOW) / "part-0.parquet")
    twice = pd.concat([rows, rows.head(9).assign(price=1.5)])
    digests = set()
    for seed in (1, 2):
        shop.write_sales(IN_WINDOW, twice.sample(frac=1, random_state=seed))
        digests.add(content_digest(part_tables(load(shop))[IN_WINDOW]))
    assert len(digests) == 1


def test_what_is_read_back_is_what_the_dataset_had(shop: Any) -> None:
    dataset, spec = load(shop), shop.job(DAY).spec
    tables = part_tables(dataset)
    parts = keep_parts(shop.settings.snapshots, "toys", tables)
    read = [read_part(shop.settings.snapshots, "toys", part) for part in parts]
    for rows in (rows_of(read, spec), rows_of(tables.values(), spec)):
        pd.testing.assert_frame_equal(rows.features, dataset.features, check_exact=True)
        assert rows.target.tolist() == dataset.target.tolist()
    missing = rows_of(read, spec).features["colour"].isna()
    assert missing.any()
    assert all(type(value) is float for value in rows_of(read, spec).features["colour"][missing])
    assert sum(part.rows for part in parts) == len(dataset)


def test_further_columns_come_along_as_the_source_has_them(shop: Any) -> None:
    rows = pd.read_parquet(shop.sales(IN_WINDOW) / "part-0.parquet")
    whole = pa.array([None if n % 7 == 0 else n for n in range(len(rows))], pa.int32())
    source = pa.Table.from_pandas(rows, preserve_index=False).append_column("shelf", whole)
    for day in load(shop).parts:
        there = pq.read_table(shop.sales(day[0]) / "part-0.parquet")
        if day[0] != IN_WINDOW:
            shop.write_sales(day[0], there.append_column("shelf", pa.nulls(len(there), pa.int32())))
    shop.write_sales(IN_WINDOW, source.take(pa.array(np.random.default_rng(3).permutation(len(rows)))))
    dataset = load(shop, extra=("shelf", "price", "toy_id", "shelf"))
    assert list(dataset.extra.columns) == ["shelf", "price", "toy_id"]
    assert dataset.extra["price"].tolist() == dataset.features["price"].tolist()
    assert dataset.extra["toy_id"].tolist() == dataset.keys["toy_id"].to_pylist()
    shelf = dict(zip(dataset.extra["toy_id"], dataset.extra["shelf"], strict=True))
    expected = dict(zip(rows["toy_id"], whole.to_pylist(), strict=True))
    assert {key: shelf[key] for key in expected} == expected  # 3 and not 3.0, and a null is a None
    assert load(shop).extra.shape == (len(dataset), 0)
    with pytest.raises(Rejected, match="has no column aisle"):
        load(shop, extra=("aisle",))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(b"PAR1"), "cannot be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-30]), "cannot be read"),
        (lambda path: pq.write_table(table(value=0.25), path), "was changed"),
    ],
    ids=["missing", "no-parquet", "cut", "other-rows"],
)
def test_a_spoiled_part_is_named_and_kept_anew(tmp_path: Path, spoil: Any, says: str) -> None:
    (part,) = keep_parts(tmp_path, "toys", {IN_WINDOW: table()})
    path = part_path(tmp_path, "toys", part.digest)
    assert path == tmp_path / "toys" / part.digest[:2] / f"{part.digest}.parquet"
    spoil(path)
    with pytest.raises(
        TamperedSnapshot, match=rf"part {IN_WINDOW} of a snapshot of toys \({part.digest[:12]}.* {says}"
    ):
        read_part(tmp_path, "toys", part)
    assert keep_parts(tmp_path, "toys", {IN_WINDOW: table()}) == (part,)
    assert read_part(tmp_path, "toys", part) == table()


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match=r"cannot be made .* set LAMPLIGHTER_SNAPSHOTS"):
        keep_parts(tmp_path / "file" / "snapshots", "toys", {IN_WINDOW: table()})


WRITER = """
import os, signal, sys, time
from pathlib import Path
import pyarrow as pa
from jobs.snapshot import keep_parts
root, how = Path(sys.argv[1]), sys.argv[2]
table = pa.table({"key:id": pa.array([f"r{n}" for n in range(3)], pa.large_string()), "target": [0.5] * 3})
if how == "killed":
    Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
if how == "together":
    (root / f"ready-{os.getpid()}").touch()
    while len(list(root.glob("ready-*"))) < 2:
        time.sleep(0.001)
    rename = Path.replace
    def slowly(path, target):  # both have found no file, and both have written one
        (root / f"written-{os.getpid()}").touch()
        while len(list(root.glob("written-*"))) < 2:
            time.sleep(0.001)
        return rename(path, target)
    Path.replace = slowly
print(keep_parts(root / "snapshots", "toys", {"2026-01-08": table})[0].digest)
"""


def writer(root: Path, how: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(WRITER), str(root), how]
    return subprocess.Popen(command, env=os.environ, stdout=subprocess.PIPE, text=True)


def test_two_processes_that_write_the_same_part_leave_one_file(tmp_path: Path) -> None:
    both = [writer(tmp_path, "together") for _ in range(2)]
    said = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(said) == 1
    assert [p.name for p in (tmp_path / "snapshots").rglob("*") if p.is_file()] == [f"{said.pop()}.parquet"]


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path: Path) -> None:
    process = writer(tmp_path, "killed")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    root = tmp_path / "snapshots"
    assert list(root.rglob("*.tmp"))
    assert not list(root.rglob("*.parquet"))
    (part,) = keep_parts(root, "toys", {IN_WINDOW: table()})
    assert read_part(root, "toys", part) == table()


def test_a_snapshot_is_pinned_by_its_parts_and_their_roles() -> None:
    one, two = SnapshotPart("2026-01-01", "a" * 64, 5), SnapshotPart("2026-01-02", "b" * 64, 6)
    snapshot = Snapshot("toys", (one,), (two,))
    assert len({snapshot.digest, Snapshot("toys", (two,), (one,)).digest, Snapshot("toys", (one,), ()).digest}) == 3
    assert (snapshot.find("2026-01-01"), snapshot.find("2026-01-02")) == (("training", one), ("holdout", two))
    assert snapshot.find("2026-01-03") is None
    assert snapshot.rows == 5
