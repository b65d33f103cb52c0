"""Columns that change from file to file and from day to day, as tables do over the years."""

from datetime import date
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import PIPELINE, SPEC, rows_of
from deltalake import DeltaTable

from jobs.context import JobContext
from jobs.errors import Misconfigured, Rejected
from jobs.lineage_row import _value
from jobs.rescore import score_partition
from jobs.spec_file import load_spec
from jobs.table import predictions_path
from jobs.train import train

DAY = "2026-01-16"
CHECKS = [
    "{expectation: expect_column_max_to_be_between, arguments: {column: price, min_value: 0, max_value: 1000}}",
    "{expectation: expect_column_unique_value_count_to_be_between, arguments: {column: price, min_value: 1}}",
    "{expectation: expect_column_values_to_be_between, arguments: {column: price, min_value: 0}}",
]


@pytest.fixture
def rows() -> pa.Table:
    return pa.Table.from_pandas(rows_of(date.fromisoformat(DAY)), preserve_index=False)


def with_column(rows: pa.Table, name: str, values: Any) -> pa.Table:
    return rows.set_column(rows.schema.get_field_index(name), name, values)


def test_half_floats_pass_the_checks_that_others_pass(open_shop: Any, rows: pa.Table) -> None:
    marker = "input_checks:\n"
    assert marker in SPEC
    open_shop.write_model(SPEC.replace(marker, marker + "".join(f"  - {check}\n" for check in CHECKS)))
    half = pc.round(rows["price"]).cast(pa.float32()).cast(pa.float16())
    open_shop.write_sales(DAY, with_column(rows, "price", half))
    assert score_partition(open_shop.job(DAY)).publication.rows_scored == 120


def test_a_file_without_rows_says_nothing_of_types(open_shop: Any, rows: pa.Table) -> None:
    nothing = pd.DataFrame({name: [] for name in rows.column_names}, dtype=float)
    open_shop.write_sales(DAY, nothing, "part-1.parquet")
    assert score_partition(open_shop.job(DAY)).publication.rows_scored == 120
    open_shop.write_sales("2026-01-10", nothing, "part-1.parquet")
    open_shop.retrain("2026-01-15", "with a file without rows")


def test_the_first_file_that_differs_is_named(open_shop: Any, rows: pa.Table) -> None:
    for number in range(1, 5):
        open_shop.write_sales(DAY, rows.slice(0, 0), f"part-{number}.parquet")
    texts = rows.slice(100).set_column(2, "price", rows["price"].slice(100).cast(pa.string()))
    for name, table in {"part-0": rows.slice(0, 50), "part-2": rows.slice(50, 50), "part-3": texts}.items():
        open_shop.write_sales(DAY, table, f"{name}.parquet")
    with pytest.raises(
        Rejected, match=r"differ in the type .*\. day=2026-01-16/part-3\.parquet is the first that differs\. Deliver"
    ):
        score_partition(open_shop.job(DAY))


@pytest.mark.parametrize("zones", [("UTC", "Etc/UTC"), ("Europe/Paris", "UTC")])
def test_instants_as_keys_may_have_another_zone_in_each_file(
    open_shop: Any, rows: pa.Table, zones: tuple[str, str]
) -> None:
    instants = pa.array(range(120), pa.timestamp("us", "UTC"))
    for number, zone in enumerate(zones):
        mine = with_column(rows, "toy_id", instants.cast(pa.timestamp("us", zone))).slice(number * 60, 60)
        open_shop.write_sales("2026-01-17", mine, f"part-{number}.parquet")
    assert score_partition(open_shop.job("2026-01-17")).publication.rows_scored == 120
    published = DeltaTable(predictions_path(open_shop.settings, open_shop.job(DAY).spec)).to_pyarrow_table()
    assert sorted(published["toy_id"].to_pylist()) == instants.to_pylist()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda column: pa.array([[v] for v in column.to_pylist()]), "list<element: double>"),
        (lambda column: pa.array([{"a": v} for v in column.to_pylist()]), "struct<a: double>"),
        (lambda column: pc.if_else(pc.equal(column, 1), "Y", "N"), "string"),
        (lambda column: column.cast(pa.int64()).cast(pa.timestamp("us")), "timestamp[us]"),
        (lambda column: column.cast(pa.int64()).cast(pa.duration("s")), "duration[s]"),
    ],
)
def test_a_label_of_another_type_is_a_sentence_about_its_day(shop: Any, change: Any, kind: str) -> None:
    file = shop.settings.data / "returns" / "day=2026-01-08" / "part-0.parquet"
    labels = pq.read_table(file, partitioning=None)
    pq.write_table(with_column(labels, "returned", change(labels["returned"])), file)
    with pytest.raises(Misconfigured, match=r"label\(\) of toys must return numbers, and failed for ") as caught:
        train(shop.job("2026-01-14"))
    assert f"2026-01-08, where returned is {kind}: " in str(caught.value)


def test_names_and_keys_that_no_system_takes_are_sentences(shop: Any) -> None:
    with pytest.raises(Misconfigured, match="There is no model 'xxx"):
        load_spec(shop.settings.models, "x" * 300)
    with pytest.raises(Misconfigured, match="The key toy_id is string, and --key does not give one"):
        _value("toy_id", "\udcff", pa.string())
    with pytest.raises(Misconfigured, match="There is no model 'xxx"):
        JobContext.create(shop.settings, "x" * 300, DAY)


def test_a_label_may_be_of_pandas_own_types_with_nulls(shop: Any) -> None:
    nullable = PIPELINE.replace('return frame["returned"]', 'return frame["returned"].astype("Int64")')
    assert nullable != PIPELINE
    shop.write_model(pipeline=nullable)
    labels = shop.settings.data / "returns" / "day=2026-01-08" / "part-0.parquet"
    frame = pq.read_table(labels, partitioning=None).to_pandas()
    frame.loc[:2, "returned"] = None
    frame.to_parquet(labels, index=False)
    assert train(shop.job("2026-01-14")).version
