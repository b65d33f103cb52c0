"""Tables that another tool has made, or has switched features on in: refused in one sentence, and left as they are."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from conftest import SPEC
from deltalake import DeltaTable, TableFeatures, write_deltalake

from jobs.backfill import plan_backfill
from jobs.diff import diff
from jobs.errors import Misconfigured, Rejected
from jobs.lineage_row import find_row
from jobs.performance import performance
from jobs.plan import plan
from jobs.registry import open_registry
from jobs.rescore import score_partition
from jobs.status import status
from jobs.table import LOG, history, open_table, predictions_path, published, rejected_path

DAY, NEXT = "2026-01-16", "2026-01-17"
ROWS = {"toy_id": ["x"], "score": [0.5], "model_version": pa.array([1], pa.int32())}
FOREIGN = "it was not made by Lamplighter, or for another key. Choose another output.table."


def tables(shop: Any) -> tuple[Path, Path]:
    settings, spec = shop.settings, shop.job(DAY).spec
    return Path(str(predictions_path(settings, spec))), Path(str(rejected_path(settings, spec)))


@pytest.mark.parametrize(
    ("rows", "by", "says"),
    [
        (ROWS | {"partition": ["2020-01-01"]}, None, "toys is not partitioned by partition alone: "),
        (ROWS | {"partition": ["2020-01-01"]}, ["toy_id"], "toys is not partitioned by partition alone: "),
        (ROWS | {"partition": [20200101]}, ["partition"], "toys is partitioned by a long, not by a text: "),
        ({"name": ["x"], "partition": ["2020-01-01"]}, ["partition"], "toys has no column toy_id: "),
    ],
)
def test_a_table_of_another_origin_is_refused_by_its_plan(
    open_shop: Any, rows: dict[str, Any], by: list[str] | None, says: str
) -> None:
    path, _ = tables(open_shop)
    write_deltalake(path, pa.table(rows), partition_by=by)
    with pytest.raises(Misconfigured) as told:
        plan(open_shop.job(DAY))
    assert str(told.value) == says + FOREIGN
    assert DeltaTable(path).version() == 0


@pytest.mark.parametrize(("before", "after"), [("toy_id", "toy_id, colour"), ("toy_id, colour", "toy_id")])
def test_a_new_key_needs_a_new_table(open_shop: Any, before: str, after: str) -> None:
    open_shop.write_model(SPEC.replace("key: [toy_id]", f"key: [{before}]"))
    for run, rows in (("first", 50), ("second", 40)):
        open_shop.write_sales(DAY, pd.read_parquet(open_shop.sales(DAY)).dropna().head(rows))
        score_partition(open_shop.job(DAY, run))
    open_shop.write_model(SPEC.replace("key: [toy_id]", f"key: [{after}]"))
    job = open_shop.job(DAY, "third")
    says = f"^toys has the key {before}, and the spec {after}: its readers join by the one that it has. Choose another"
    key = ["x"] * len(job.spec.key)
    (there,) = published(predictions_path(job.settings, job.spec)).values()
    for work in (
        lambda: plan(job),
        lambda: plan(open_shop.job(NEXT)),
        lambda: diff(job),
        lambda: performance(job.settings, job.spec, job.partition, datetime.now(UTC)),
        lambda: find_row(job.settings, job.spec, there, key),
    ):
        with pytest.raises(Misconfigured, match=says):
            work()
    reordered = "toy_id" if before == "toy_id" else "colour, toy_id"
    open_shop.write_model(SPEC.replace("key: [toy_id]", f"key: [{reordered}]"))
    score_partition(open_shop.job(DAY, "fourth"))
    assert set(DeltaTable(tables(open_shop)[0]).to_pandas().notna().sum()) == {40}


@pytest.mark.parametrize("feature", ["RowTracking", "DomainMetadata", "IdentityColumns", "DeletionVectors"])
@pytest.mark.parametrize("which", [0, 1])
def test_a_feature_that_is_not_supported_is_told_before_anything_is_scored(
    open_shop: Any, feature: str, which: int
) -> None:
    score_partition(open_shop.job(DAY))
    path = tables(open_shop)[which]
    DeltaTable(path).alter.add_feature(getattr(TableFeatures, feature), allow_protocol_versions_increase=True)
    named = feature[0].lower() + feature[1:]
    for day in (NEXT, DAY):  # the second is published already: whoever reads it is to know, too
        with pytest.raises(Misconfigured, match=f"^{path.name} uses {named}, which another tool has switched on"):
            plan(open_shop.job(day, "next"))
    if which == 0:
        job = open_shop.job(DAY)
        with pytest.raises(Misconfigured, match=f"^{path.name} uses {named}, "):
            performance(job.settings, job.spec, job.partition, datetime.now(UTC))
    (found,) = plan_backfill(open_shop.settings, open_registry(open_shop.settings), "toys", DAY, DAY).partitions
    assert found.why == f"The table {path.name} uses {named}, which is not supported here."


@pytest.mark.parametrize(
    "feature",
    ["AppendOnly", "ChangeDataFeed", "CheckConstraints", "GeneratedColumns", "Invariants", "TimestampWithoutTimezone"],
)
def test_a_feature_that_changes_nothing_for_us_is_left_alone(open_shop: Any, feature: str) -> None:
    score_partition(open_shop.job(DAY))
    path, _ = tables(open_shop)
    DeltaTable(path).alter.add_feature(getattr(TableFeatures, feature), allow_protocol_versions_increase=True)
    score_partition(open_shop.job(NEXT))
    assert len(DeltaTable(path).to_pandas()) == 240


def test_a_column_mapping_of_an_older_protocol_is_noticed(open_shop: Any) -> None:
    score_partition(open_shop.job(DAY))
    path, _ = tables(open_shop)
    log = path / LOG / f"{0:020d}.json"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if "metaData" in line:
            line["metaData"]["configuration"]["delta.columnMapping.mode"] = "name"
    log.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(Misconfigured, match=r"^toys uses columnMapping, which another tool"):
        plan(open_shop.job(NEXT))


def test_rejected_rows_of_before_stay_readable_when_the_key_has_another_type(open_shop: Any) -> None:
    """Whoever is told that the key is of another type than in the table may well remove the table, and one only."""
    rows = pd.read_parquet(open_shop.sales(DAY))
    rows.loc[:3, "price"] = -1.0
    open_shop.write_sales(DAY, rows)
    score_partition(open_shop.job(DAY))
    path, beside = tables(open_shop)
    path.rename(path.with_name("elsewhere"))
    open_shop.write_sales(NEXT, pd.read_parquet(open_shop.sales(NEXT)).assign(toy_id=range(120)))
    with pytest.raises(Rejected, match=r"the key is of another type \(toy_id int64\) than in the table toys_rejected"):
        score_partition(open_shop.job(NEXT))
    assert len(DeltaTable(beside).to_pandas()) == 4


def test_one_broken_table_does_not_hide_the_other_models(open_shop: Any) -> None:
    score_partition(open_shop.job(DAY))
    newest = max((tables(open_shop)[0] / LOG).glob("*.json"))
    newest.write_text(newest.read_text()[:40])
    found = status(open_shop.settings, open_registry(open_shop.settings))
    assert found["models"] == {}
    assert found["problems"]["toys"].startswith("toys cannot be opened as a Delta table")


def test_commits_are_numbered_right_when_one_says_nothing_and_another_is_made_meanwhile(open_shop: Any) -> None:
    score_partition(open_shop.job(DAY))
    path, _ = tables(open_shop)
    bare = path / LOG / f"{DeltaTable(path).version() + 1:020d}.json"
    bare.write_text(json.dumps({"txn": {"appId": "other", "version": 1}}) + "\n")
    table = open_table(path)
    assert table is not None
    score_partition(open_shop.job(NEXT))
    assert {commit["version"]: "lamplighter" in commit for commit in history(table, path)} == {
        2: False,
        1: True,
        0: False,
    }
