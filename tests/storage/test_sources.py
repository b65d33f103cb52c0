"""One contract for every kind of source: the same rows give the same scores, and what changes in between is noticed."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from jobs.backfill import State, plan_backfill
from jobs.dataset import load_dataset
from jobs.errors import InvalidSpec, Misconfigured, MissingPartition, Rejected
from jobs.input_gate import input_gate
from jobs.inputs import check_source, find_input
from jobs.output_gate import output_gate
from jobs.plan import Plan, plan
from jobs.publish import publish
from jobs.readiness import source_waiting_for
from jobs.registry import open_registry
from jobs.score import score
from jobs.spec_file import parse_spec
from jobs.table import open_table, predictions_path

DAY = "2026-01-16"


@pytest.fixture
def plain_scores(open_shop: Any) -> pd.DataFrame:
    """The scores of the day with today's source, before the spec is changed."""
    publish(open_shop.prepare(DAY, "plain"))
    return scores(open_shop)


def scores(shop: Any) -> pd.DataFrame:
    table = open_table(predictions_path(shop.settings, shop.job(DAY).spec))
    assert table is not None
    return table.to_pandas().sort_values("toy_id", ignore_index=True)


def test_a_partition_is_scored_from_any_source_with_the_same_scores(plain_scores: pd.DataFrame, feed: Any) -> None:
    publish(feed.shop.prepare(DAY))
    pd.testing.assert_frame_equal(scores(feed.shop), plain_scores, check_exact=True)
    again = feed.shop.job(DAY, "again")
    plan(again)
    assert again.recall("plan", Plan).published


def test_training_reads_the_same_rows_from_any_source(open_shop: Any, feed: Any) -> None:
    from jobs.spec_file import load_pipeline_module

    job, settings = feed.shop.job("2026-01-10"), feed.shop.settings
    label = load_pipeline_module(settings.models, "toys").label
    found = load_dataset(settings, job.spec, label, [job.partition], datetime(2026, 2, 1, tzinfo=UTC))
    rows = feed.rows("2026-01-10")
    assert (len(found), found.rows_unlabelled) == (len(rows), 0)
    assert (
        found.target.sum()
        == pd.read_parquet(feed.shop.root / "home" / "data" / "returns" / "day=2026-01-10")["returned"].sum()
    )
    assert list(found.features["colour"].isna()) == list(rows.sort_values("toy_id")["colour"].isna())
    before = load_dataset(settings, job.spec, label, [job.partition], datetime(2026, 1, 11, tzinfo=UTC))
    assert (len(before), before.rows_unlabelled) == (0, len(rows))


@pytest.mark.parametrize("name", ["delta-s3", "sql-postgresql"])
def test_a_whole_retrain_reads_there(name: str, open_shop: Any, make_feed: Callable[..., Any]) -> None:
    make_feed(name, open_shop).deliver_all()
    open_shop.retrain("2026-01-19")
    assert plan(open_shop.job("2026-01-20")).version.number == 2


def test_what_the_plan_pinned_is_judged_and_scored_whatever_changes_after_it(feed: Any) -> None:
    job = feed.shop.job(DAY)
    plan(job)
    feed.deliver("sales", DAY, feed.rows().head(50))
    judged = input_gate(job)
    if feed.kind == "parquet":  # a folder has no versions
        assert judged.rows == 50
        with pytest.raises(Rejected, match="it changed in between"):
            score(job)
        return
    assert (judged.rows, score(job).rows_in) == (120, 120)
    output_gate(job)
    publish(job)
    assert plan(feed.shop.job(DAY, "next")).rows == 50


def test_what_changes_in_other_partitions_is_no_change(feed: Any) -> None:
    before = plan(feed.shop.job(DAY)).input_digest
    feed.deliver("sales", "2026-01-17", feed.rows("2026-01-17").head(50))
    assert plan(feed.shop.job(DAY)).input_digest == before
    feed.deliver("sales", DAY, feed.rows().assign(price=lambda f: f["price"] + 1))
    assert plan(feed.shop.job(DAY)).input_digest != before


def test_a_partition_that_is_not_there_yet_is_missing(feed: Any) -> None:
    job = feed.shop.job("2027-01-01")
    assert source_waiting_for(feed.shop.settings, job.spec, job.partition)
    for look in (find_input, check_source):
        with pytest.raises(MissingPartition, match="2027-01-01"):
            look(feed.shop.settings, job.spec, job.partition)


def test_a_source_that_was_never_made(open_shop: Any, make_feed: Callable[..., Any]) -> None:
    make_feed("delta-local", open_shop)
    with pytest.raises(MissingPartition, match="has no rows for 2026-01-16"):
        plan(open_shop.job(DAY))


def test_a_delta_table_that_somebody_has_emptied(open_shop: Any, make_feed: Callable[..., Any]) -> None:
    feed = make_feed("delta-local", open_shop)
    feed.deliver("sales", DAY, feed.rows())
    DeltaTable(f"{feed.where}/sales").delete()
    with pytest.raises(MissingPartition, match="has no rows for 2026-01-16"):
        plan(open_shop.job(DAY))


def test_a_plan_pins_the_version_of_a_delta_table(open_shop: Any, make_feed: Callable[..., Any]) -> None:
    feed = make_feed("delta-local", open_shop)
    feed.deliver("sales", DAY, feed.rows())
    job = open_shop.prepare(DAY)
    publication = publish(job).publication
    assert publication.source_version == 0
    feed.deliver("sales", DAY, feed.rows().head(50))
    assert plan(open_shop.job(DAY)).source_version == 1
    assert plan(open_shop.job(DAY)).rows == 50
    text = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=text.replace("column: day", "version: 0, column: day"))
    assert plan(open_shop.job(DAY)).input_digest == publication.input_digest
    open_shop.write_model(spec=text.replace("column: day", "version: 7, column: day"))
    with pytest.raises(Misconfigured, match="cannot be opened as a Delta table in version 7"):
        plan(open_shop.job(DAY))


def test_a_pinned_version_whose_files_are_gone_is_a_sentence_and_stops_no_backfill(
    open_shop: Any, make_feed: Callable[..., Any]
) -> None:
    feed = make_feed("delta-local", open_shop)
    for rows in (feed.rows(), feed.rows().head(50)):
        feed.deliver("sales", DAY, rows)
    text = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=text.replace("column: day", "version: 0, column: day"))
    DeltaTable(f"{feed.where}/sales").vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(Misconfigured, match=r"A file of version 0 of .*sales, which the spec pins, is gone"):
        plan(open_shop.job(DAY))
    [found] = plan_backfill(open_shop.settings, open_registry(open_shop.settings), "toys", DAY, DAY).partitions
    assert (found.state, "pin a newer version" in found.why) == (State.refused, True)


@pytest.mark.parametrize(
    ("value", "other"), [(DAY, "2026-01-17"), (date(2026, 1, 16), date(2026, 1, 17)), (20260116, 20260117)]
)
def test_the_column_of_a_delta_table_may_be_text_a_date_or_a_number(
    open_shop: Any, tmp_path: Path, value: object, other: object
) -> None:
    rows = pa.Table.from_pandas(pd.read_parquet(open_shop.sales(DAY)), preserve_index=False)
    day = pa.array([value] * (len(rows) - 1) + [other])
    write_deltalake(tmp_path / "a folder" / "sales", rows.append_column("day", day), partition_by=["day"])
    text = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=text.replace("{path: sales", f"{{kind: delta, path: '{tmp_path}/a folder/sales'"))
    assert plan(open_shop.job(DAY)).rows == len(rows) - 1


def test_a_delta_table_by_instants_is_refused(open_shop: Any, make_feed: Callable[..., Any]) -> None:
    feed = make_feed("delta-local", open_shop)
    instants = pa.array([1_768_521_600_000_000], pa.timestamp("us"))
    write_deltalake(f"{feed.where}/sales", pa.table({"day": instants, "toy_id": ["a"]}), partition_by=["day"])
    with pytest.raises(Misconfigured, match="is partitioned by day, a timestamp_ntz: partition it by the key, as text"):
        plan(open_shop.job(DAY))


def test_a_delta_table_must_be_partitioned_by_the_column(open_shop: Any, make_feed: Callable[..., Any]) -> None:
    feed = make_feed("delta-local", open_shop)
    write_deltalake(f"{feed.where}/sales", pa.table({"day": [DAY], "toy_id": ["a"]}))
    with pytest.raises(Misconfigured, match="is not partitioned by day"):
        plan(open_shop.job(DAY))


def test_a_delta_table_whose_files_are_not_its_rows_is_refused(open_shop: Any, make_feed: Callable[..., Any]) -> None:
    feed = make_feed("delta-local", open_shop)
    configuration = {"delta.enableDeletionVectors": "true"}
    write_deltalake(
        f"{feed.where}/sales", pa.table({"day": [DAY], "a": [1]}), partition_by=["day"], configuration=configuration
    )
    with pytest.raises(Misconfigured, match="uses deletionVectors"):
        plan(open_shop.job(DAY))


def test_a_delta_table_whose_columns_have_other_names_in_files_is_refused(
    open_shop: Any, make_feed: Callable[..., Any]
) -> None:
    """Of an older protocol, which has no list of features: the table's log says it as Spark writes it."""
    feed = make_feed("delta-local", open_shop)
    rows = pa.Table.from_pandas(pd.read_parquet(open_shop.sales(DAY)), preserve_index=False)
    rows = rows.append_column("cost", rows["price"]).append_column("day", pa.array([DAY] * len(rows)))
    write_deltalake(f"{feed.where}/sales", rows, partition_by=["day"])
    log = Path(f"{feed.where}/sales/_delta_log/{0:020d}.json")
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        line.update({"protocol": {"minReaderVersion": 2, "minWriterVersion": 5}} if "protocol" in line else {})
        if about := line.get("metaData"):
            schema, other = json.loads(about["schemaString"]), {"price": "cost", "cost": "price"}
            for number, field in enumerate(schema["fields"], 1):
                named = {"delta.columnMapping.id": number, "delta.columnMapping.physicalName": field["name"]}
                field.update({"name": other.get(field["name"], field["name"]), "metadata": named})
            mapped = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": str(len(schema["fields"]))}
            about.update({"schemaString": json.dumps(schema), "configuration": mapped})
    log.write_text("\n".join(map(json.dumps, lines)) + "\n")
    with pytest.raises(Misconfigured, match="sales uses columnMapping: write the table without"):
        plan(open_shop.job(DAY))


def test_a_delta_table_that_is_partitioned_by_a_feature_is_refused_without_a_value(
    open_shop: Any, make_feed: Callable[..., Any]
) -> None:
    feed = make_feed("delta-local", open_shop)
    rows = pa.Table.from_pandas(pd.read_parquet(open_shop.sales(DAY)), preserve_index=False)
    by = ["day", "colour"]
    write_deltalake(f"{feed.where}/sales", rows.append_column("day", pa.array([DAY] * len(rows))), partition_by=by)
    with pytest.raises(Misconfigured, match="is partitioned by colour, too, so its files have no such column"):
        plan(open_shop.job(DAY))


def test_a_shallow_clone_is_refused(open_shop: Any, make_feed: Callable[..., Any]) -> None:
    feed = make_feed("delta-local", open_shop)
    rows = pa.Table.from_pandas(pd.read_parquet(open_shop.sales(DAY)), preserve_index=False)
    write_deltalake(f"{feed.where}/sales", rows.append_column("day", pa.array([DAY] * len(rows))), partition_by=["day"])
    log = Path(f"{feed.where}/sales/_delta_log/{0:020d}.json")
    log.write_text(log.read_text().replace('"path":"day=', '"path":"file:///elsewhere/day='))
    with pytest.raises(Misconfigured, match="names files in other folders, as a shallow clone does"):
        plan(open_shop.job(DAY))


@pytest.mark.parametrize(
    ("clause", "says"),
    [
        ("kind: sql, path: sales", "kind: sql needs database"),
        ("path: sales, query: SELECT 1", "query belongs to kind: sql"),
        ("path: sales, version: 3", "version belongs to kind: delta"),
        ("kind: sql, path: sales, database: 'postgresql://me:secret@host/x'", "source.database"),
        ("kind: csv, path: sales", "source.kind"),
        ("kind: delta, path: sales, ready: {marker: _DONE}", "ready belongs to kind: parquet"),
    ],
)
def test_a_source_that_does_not_fit_together_is_no_spec(open_shop: Any, clause: str, says: str) -> None:
    text = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    with pytest.raises(InvalidSpec, match=says):
        parse_spec(text.replace("source: {path: sales", f"source: {{{clause}"), "model.yaml")
