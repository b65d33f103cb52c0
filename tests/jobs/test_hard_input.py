"""Partitions as feeds deliver them: files that differ, keys that come back every day, columns that are empty."""

import json
import re
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs.errors import Misconfigured, Rejected
from jobs.input_gate import input_gate
from jobs.output_gate import output_gate
from jobs.plan import plan
from jobs.publish import publish
from jobs.source import read
from jobs.table import predictions_path, rejected_path
from jobs.train import train

DAY, NEXT = "2026-01-16", "2026-01-17"


def with_key(shop: Any, day: str, keys: Any, name: str = "part-0.parquet") -> None:
    """Deliver a day's rows with other keys, of the type that the array has."""
    rows = pa.Table.from_pandas(pd.read_parquet(shop.sales(day) / "part-0.parquet"), preserve_index=False)
    shop.write_sales(day, rows.set_column(0, "toy_id", pa.array(keys)), name)


def scores(shop: Any) -> pd.DataFrame:
    return DeltaTable(predictions_path(shop.settings, shop.job(DAY).spec)).to_pandas()


def texts(prefix: str = "k", rows: int = 120) -> pa.Array:
    return pa.array([f"{prefix}{n}" for n in range(rows)])


def numbers(kind: pa.DataType, first: int = 0, rows: int = 120) -> pa.Array:
    return pa.array(range(first, first + rows), kind)


def test_a_key_that_comes_back_every_day_is_unique_within_its_partition(shop: Any) -> None:
    for day in range(4, 14):
        with_key(shop, f"2026-01-{day:02}", texts())
    assert input_gate(shop.job("2026-01-14"), "train").report.passed
    with_key(shop, "2026-01-08", pa.array(["same"] * 2 + texts().to_pylist()[2:]))
    with pytest.raises(Rejected, match=r"keys are unique .* 1 keys more than once, 2 rows"):
        input_gate(shop.job("2026-01-14"), "train")


def test_rows_without_a_key_are_rejected_one_by_one_and_do_not_close_the_gate(open_shop: Any) -> None:
    with_key(open_shop, DAY, pa.array([None, None, *texts().to_pylist()[2:]]))
    result = publish(open_shop.prepare(DAY)).publication
    assert result.reasons == {"null_key": 2}
    assert len(scores(open_shop)) == 118


@pytest.fixture
def generous(open_shop: Any) -> Any:
    """A world that takes a partition of which half the rows are rejected."""
    text = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    open_shop.write_model(spec=re.sub(r"reject_budget: .*", "reject_budget: 0.6", text))
    return open_shop


def test_a_file_whose_rows_have_no_key_at_all_is_rejected_in_the_type_of_the_others(generous: Any) -> None:
    with_key(generous, DAY, numbers(pa.int64()))
    with_key(generous, DAY, pa.nulls(120), "part-1.parquet")
    job = generous.prepare(DAY)
    assert publish(job).publication.reasons == {"null_key": 120}
    files = [p for p in rejected_path(generous.settings, job.spec).rglob("*.parquet") if f"partition={DAY}" in str(p)]
    assert [pq.read_schema(path).field("toy_id").type for path in files] == [pa.int64()]


def test_keys_of_two_types_are_refused_before_anything_is_scored(generous: Any) -> None:
    with_key(generous, DAY, numbers(pa.int64()))
    rows = pd.read_parquet(generous.sales(DAY) / "part-0.parquet").assign(price=-1.0)
    generous.write_sales(DAY, rows.assign(toy_id=rows["toy_id"] + 0.5), "part-1.parquet")
    job = generous.job(DAY)
    plan(job)
    said = (
        r"part-1.parquet: the key toy_id is double, and int64 in day=\S+part-0.parquet: deliver one type in all files"
    )
    with pytest.raises(Rejected, match=said):
        input_gate(job)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (texts().dictionary_encode(), texts("z")),
        (texts(), texts("z").cast(pa.large_string())),
        (texts().cast(pa.string_view()), texts("z")),
        (texts().cast(pa.string_view()), texts("z").cast(pa.large_string())),
        (numbers(pa.int32()), numbers(pa.int64(), 2**40)),
    ],
    ids=["dictionary", "large string", "view", "view and large string", "wider integer"],
)
def test_files_of_one_partition_may_hold_the_key_in_kindred_types(open_shop: Any, first: Any, second: Any) -> None:
    with_key(open_shop, DAY, first)
    with_key(open_shop, DAY, second, "part-1.parquet")
    publish(open_shop.prepare(DAY))
    assert set(scores(open_shop)["toy_id"]) == {*first.to_pylist(), *second.to_pylist()}


def test_text_as_views_gives_the_same_scores_and_the_same_digest(open_shop: Any) -> None:
    rows = pq.read_table(open_shop.sales(DAY) / "part-0.parquet", partitioning=None)
    views = [f.with_type(pa.string_view()) if pa.types.is_string(f.type) else f for f in rows.schema]
    assert pa.string_view() in {field.type for field in views}
    contents = []
    for half in (rows.slice(60), rows.slice(60).cast(pa.schema(views))):
        open_shop.write_sales(DAY, rows.slice(0, 60))
        open_shop.write_sales(DAY, half, "part-1.parquet")
        contents.append(publish(open_shop.prepare(DAY, f"run-{len(contents)}")).publication.content)
    assert pq.read_schema(open_shop.sales(DAY) / "part-1.parquet").field("colour").type == pa.string_view()
    assert contents[0] == contents[1]


def test_a_column_without_any_value_in_one_file_is_a_column_of_nulls(open_shop: Any) -> None:
    rows = pd.read_parquet(open_shop.sales(DAY)).assign(colour=None, toy_id=texts("z").to_pylist())
    open_shop.write_sales(DAY, rows.head(20), "part-1.parquet")
    assert publish(open_shop.prepare(DAY)).publication.rows_scored == 140


def test_a_column_without_any_value_in_one_partition_of_the_window_is_judged_with_the_others(shop: Any) -> None:
    shop.write_sales("2026-01-08", pd.read_parquet(shop.sales("2026-01-08")).assign(price=None))
    assert input_gate(shop.job("2026-01-14"), "train").report.passed


def test_files_whose_types_do_not_go_together_are_rejected(shop: Any) -> None:
    with_key(shop, DAY, numbers(pa.int64()), "part-1.parquet")
    with pytest.raises(Rejected, match=r"sales 2026-01-16: the files differ .* toy_id .* string vs int64"):
        input_gate(shop.job(DAY))


def test_a_file_with_two_columns_of_one_name_is_rejected(shop: Any) -> None:
    path = shop.sales(DAY) / "part-0.parquet"
    pq.write_table(pa.Table.from_arrays([texts(), texts()], names=["toy_id", "toy_id"]), path)
    with pytest.raises(Rejected, match=r"part-0.parquet in day=2026-01-16 has two columns toy_id"):
        read(str(path), None, ["toy_id"])


@pytest.mark.parametrize(
    "keys",
    [
        numbers(pa.uint32(), 2**32 - 120),
        numbers(pa.int64()).dictionary_encode(),
        numbers(pa.int64()).cast(pa.timestamp("us", "Europe/Paris")),
        numbers(pa.int32()).cast(pa.date32()),
        numbers(pa.int64()).cast(pa.float32()),
    ],
    ids=["uint32", "dictionary", "instant", "date", "float"],
)
def test_keys_come_back_as_they_went_in(open_shop: Any, keys: pa.Array) -> None:
    with_key(open_shop, DAY, keys)
    publish(open_shop.prepare(DAY))
    assert sorted(scores(open_shop)["toy_id"]) == sorted(keys.to_pandas())


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        (numbers(pa.uint64(), 2**63), "Integer value … not in range"),
        (pa.array(np.arange(120) + 7, pa.timestamp("ns")), "would lose data"),
        (numbers(pa.int64()).cast(pa.duration("s")), r"duration\[s\] is no type for a key"),
        (pa.array([{"a": n} for n in range(120)]), "is no type for a key"),
    ],
    ids=["too large", "too fine", "duration", "struct"],
)
def test_a_key_that_the_table_cannot_hold_closes_the_gate_and_not_the_table(shop: Any, keys: Any, says: str) -> None:
    with_key(shop, DAY, keys)
    with pytest.raises(Rejected, match=f"day=2026-01-16/part-0.parquet: the key toy_id cannot be published: .*{says}"):
        input_gate(shop.job(DAY))


@pytest.mark.parametrize("swap", [False, True])
def test_a_key_that_changes_its_type_overnight_does_not_spoil_what_is_published(open_shop: Any, swap: bool) -> None:
    nights = [texts(), numbers(pa.int64())]
    first, second = reversed(nights) if swap else nights
    with_key(open_shop, DAY, first)
    with_key(open_shop, NEXT, second)
    publish(open_shop.prepare(DAY, "first"))
    with pytest.raises(Rejected, match=r"the key is of another type \(toy_id .*\) than in the table toys"):
        open_shop.prepare(NEXT, "second")
    with pytest.raises(Misconfigured, match="has no result of `output-gate`"):
        publish(open_shop.job(NEXT, "second"))
    assert sorted(scores(open_shop)["toy_id"]) == sorted(first.to_pylist())


@pytest.mark.parametrize("table", [predictions_path, rejected_path])
def test_the_output_gate_sees_files_whose_keys_differ_in_type(generous: Any, table: Any) -> None:
    with_key(generous, DAY, texts("z"), "part-1.parquet")
    rows = pd.read_parquet(generous.sales(DAY) / "part-0.parquet")
    rows.loc[0, "price"] = -1.0
    generous.write_sales(DAY, rows)
    job = generous.prepare(DAY)
    folder = table(generous.settings, job.spec) / f"partition={DAY}"
    path = min(folder.iterdir())
    kept = pq.read_table(path, partitioning=None)
    pq.write_table(kept.set_column(0, "toy_id", numbers(pa.int64()).slice(0, len(kept))), path)
    with pytest.raises(Rejected, match="keys have one type on column toy_id FAILED"):
        output_gate(job)


@pytest.mark.parametrize(
    ("expectation", "arguments"),
    [
        ("expect_column_values_to_not_be_null", {"column": 5}),
        ("expect_column_values_to_not_be_null", {"column": ["price"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": 5}),
        ("expect_compound_columns_to_be_unique", {"column_list": [["price"]]}),
        ("expect_column_values_to_not_be_null", {}),
        ("expect_column_values_to_match_regex", {"column": "colour", "regex": "("}),
    ],
)
def test_arguments_that_make_no_sense_are_misconfigured(shop: Any, expectation: str, arguments: Any) -> None:
    checks = [{"expectation": expectation, "arguments": arguments}]
    spec = (shop.settings.models / "toys" / "model.yaml").read_text()
    spec = re.sub(r"input_checks:\n(  - .*\n)+", lambda _: f"input_checks: {json.dumps(checks)}\n", spec)
    shop.write_model(spec=spec)
    with pytest.raises(Misconfigured, match=f"input_checks: {expectation}"):
        input_gate(shop.job(DAY))


def rewrite_labels(shop: Any, **columns: Any) -> None:
    path = shop.settings.data / "returns" / "day=2026-01-08" / "part-0.parquet"
    pd.read_parquet(path).assign(**columns).to_parquet(path, index=False)


def test_labels_with_a_key_of_another_type_are_rejected(shop: Any) -> None:
    rewrite_labels(shop, toy_id=range(120))
    with pytest.raises(Rejected, match=r"The key has another type in returns [-0-9]+ than in sales"):
        train(shop.job("2026-01-14"))


def test_a_label_known_at_no_instant_is_rejected(shop: Any) -> None:
    rewrite_labels(shop, known_at="soon")
    with pytest.raises(Rejected, match=r"returns [-0-9]+: known_at is no instant: "):
        train(shop.job("2026-01-14"))


def test_two_labels_for_one_row_are_rejected(shop: Any) -> None:
    rewrite_labels(shop, toy_id=["008-0"] * 120)
    with pytest.raises(Rejected, match=r"returns [-0-9]+ has two labels for one key"):
        train(shop.job("2026-01-14"))


def test_a_hostile_value_of_the_data_is_only_text_on_the_page(shop: Any) -> None:
    hostile = "<script src=http://x/y></script>"
    shop.write_sales(DAY, pd.read_parquet(shop.sales(DAY)).assign(colour=hostile))
    spec = (shop.settings.models / "toys" / "model.yaml").read_text()
    check = {
        "expectation": "expect_column_values_to_be_in_set",
        "arguments": {"column": "colour", "value_set": ["red"]},
    }
    shop.write_model(spec=re.sub(r"input_checks:\n(  - .*\n)+", f"input_checks: {json.dumps([check])}\n", spec))
    job = shop.job(DAY)
    with pytest.raises(Rejected, match="120 of 120 rows unexpected"):
        input_gate(job)
    page = (job.folder / "input-gate.html").read_text()
    assert "&lt;script src=http://x/y&gt;" in page
    assert "<script" not in page
