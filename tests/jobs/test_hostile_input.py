"""Input that libraries misread or choke on: it is read as what it is, or refused with one sentence."""

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import SPEC, rows_of

from jobs.content_digest import canonical
from jobs.dataset import load_dataset
from jobs.diff import diff
from jobs.errors import InvalidSpec, LamplighterError, Misconfigured, Rejected, Unavailable
from jobs.input_gate import input_gate, judge_partitions
from jobs.key_types import publishable
from jobs.performance import performance
from jobs.plan import plan
from jobs.publish import publish
from jobs.rescore import score_partition
from jobs.source import unreadable
from jobs.spec_file import load_pipeline_module, parse_spec
from jobs.table import predictions_path
from jobs.together import together
from jobs.train import train

DAY, LEARNED = "2026-01-16", "2026-01-08"
B = 2**53
FAR, SOON = np.datetime64("9999-12-31", "us"), np.datetime64("2026-01-09", "us")
KNOWN = pa.timestamp("us", "UTC")


def rows(day: str = DAY) -> pa.Table:
    return pa.Table.from_pandas(rows_of(date.fromisoformat(day)), preserve_index=False)


def learned(shop: Any, keys: pa.Array, labels: pa.Array, known: pa.Array | None = None, **options: Any) -> Any:
    """What a retrain learns of a day with these keys, and these labels, which are 1."""
    shop.write_sales(LEARNED, rows(LEARNED).slice(0, len(keys)).set_column(0, "toy_id", keys))
    known = pa.array([SOON] * len(labels)).cast(KNOWN) if known is None else known
    returned = pa.array([1.0] * len(labels))
    there = shop.settings.data / "returns" / f"day={LEARNED}" / "part-0.parquet"
    pq.write_table(pa.table({"toy_id": labels, "returned": returned, "known_at": known}), there, **options)
    job, label = shop.job("2026-01-14"), load_pipeline_module(shop.settings.models, "toys").label
    found = load_dataset(
        shop.settings, job.spec, label, [job.spec.source.calendar.parse(LEARNED)], datetime(2026, 2, 1, tzinfo=UTC)
    )
    return dict(zip(found.keys["toy_id"].to_pylist(), found.target.tolist(), strict=True))


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        (pa.array([B, B + 1, None]), pa.array([B + 1])),
        (pa.array([B, B + 1]), pa.array([B + 1, None])),
        (pa.array(["a\0x", "a\0y"]), pa.array(["a\0y"])),
    ],
)
def test_a_label_is_that_of_its_own_key(open_shop: Any, keys: pa.Array, labels: pa.Array) -> None:
    assert learned(open_shop, keys, labels) == {labels[0].as_py(): 1.0}


def test_labels_whose_keys_have_been_rounded_are_refused(open_shop: Any) -> None:
    with pytest.raises(
        Rejected, match=r"The key has another type in returns [-0-9]+ than in sales: deliver both alike"
    ):
        learned(open_shop, pa.array([B, B + 1]), pa.array([float(B), float(B + 2)]))


@pytest.mark.parametrize("old", [False, True])
def test_a_label_that_is_known_at_the_end_of_time_is_not_known(open_shop: Any, old: bool) -> None:
    known, keys = pa.array([FAR, SOON]), pa.array(["a", "b"])
    assert learned(open_shop, keys, keys, known, use_deprecated_int96_timestamps=old) == {"b": 1.0}


@pytest.mark.parametrize("days", [[date(9999, 12, 31), date(2026, 1, 9)], [None, date(2026, 1, 9)]])
def test_labels_may_be_known_by_days(open_shop: Any, days: list[date | None]) -> None:
    keys = pa.array(["a", "b"])
    assert learned(open_shop, keys, keys, pa.array(days)) == {"b": 1.0}


@pytest.mark.parametrize("known", [pa.array([20991231] * 2), pa.array([4070908800.0] * 2)])
def test_labels_that_are_known_at_a_number_are_refused(open_shop: Any, known: pa.Array) -> None:
    keys = pa.array(["a", "b"])
    with pytest.raises(
        Rejected, match=r"returns [-0-9]+: known_at is (int64|double), and no instant: deliver a timestamp"
    ):
        learned(open_shop, keys, keys, known)


@pytest.mark.parametrize("encoding", ["DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
def test_texts_in_any_encoding_are_scored(open_shop: Any, encoding: str) -> None:
    plain = publish(open_shop.prepare(DAY, "plain")).publication
    path = open_shop.sales(DAY) / "part-0.parquet"
    pq.write_table(rows(), path, use_dictionary=False, column_encoding={"colour": encoding}, row_group_size=50)
    again = publish(open_shop.prepare(DAY, "again")).publication
    assert (again.rows_scored, again.content) == (120, plain.content)


def checked(shop: Any, column: pa.Array, check: str) -> None:
    shop.write_sales(DAY, rows().append_column("d", column))
    shop.write_model(spec=SPEC.replace("input_checks:\n", f"input_checks:\n  - {{{check}}}\n"))
    score_partition(shop.job(DAY))


def test_an_old_instant_of_far_ahead_is_later_than_today(open_shop: Any) -> None:
    far = pa.array([FAR] * 120)
    table = rows().append_column("until", far).append_column("at", pa.array([SOON] * 120))
    path = open_shop.sales(DAY) / "part-0.parquet"
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    check = "expectation: expect_column_pair_values_a_to_be_greater_than_b, arguments: {column_A: until, column_B: at}"
    open_shop.write_model(spec=SPEC.replace("input_checks:\n", f"input_checks:\n  - {{{check}}}\n"))
    assert score_partition(open_shop.job(DAY)).publication.rows_scored == 120


def test_instants_in_a_zone_that_nobody_knows_are_one_sentence(open_shop: Any) -> None:
    column = pa.array(range(120), pa.timestamp("us", "Mars/Olympus"))
    with pytest.raises(Rejected, match=r"A column of instants \(d\) is in a time zone that is not known here"):
        checked(open_shop, column, "expectation: expect_column_values_to_not_be_null, arguments: {column: d}")


def test_values_that_a_check_cannot_write_down_are_one_sentence_without_them(open_shop: Any) -> None:
    column = pa.array(np.arange(120) + 86_400_000_123, pa.duration("us"))
    with pytest.raises(Misconfigured, match="expect_column_values_to_be_in_set could not be evaluated") as caught:
        checked(
            open_shop,
            column,
            "expectation: expect_column_values_to_be_in_set, arguments: {column: d, value_set: [1]}",
        )
    assert "0 days" not in str(caught.value)


def test_days_beyond_the_calendar_are_keys_and_no_training_rows(open_shop: Any) -> None:
    far = pa.array(range(6585550, 6585670), pa.int32()).cast(pa.date32())
    for run, factor in (("one", 1.0), ("two", 2.0)):
        frame = rows_of(date(2026, 1, 16)).assign(price=lambda f, by=factor: (f["price"] * by).clip(0, 999))
        open_shop.write_sales(DAY, pa.Table.from_pandas(frame, preserve_index=False).set_column(0, "toy_id", far))
        publish(open_shop.prepare(DAY, run))
    found = diff(open_shop.job(DAY))
    assert (found.rows_added, found.rows_removed) == (0, 0)
    assert found.movers[0].key[0].startswith("200")
    with pytest.raises(Rejected, match=r"A column of days \(toy_id\) holds one beyond the year 9999"):
        learned(open_shop, far.slice(0, 2), far.slice(0, 2))


def test_texts_that_differ_after_a_nul_are_two_keys_everywhere(open_shop: Any) -> None:
    keys = ["a\0x", "a\0y", *rows()["toy_id"].to_pylist()[2:]]
    for run, factor in (("one", 1.0), ("two", 2.0)):
        frame = rows_of(date(2026, 1, 16)).assign(
            toy_id=keys, price=lambda f, by=factor: (f["price"] * by).clip(0, 999)
        )
        open_shop.write_sales(DAY, frame)
        publish(open_shop.prepare(DAY, run))
    found = diff(open_shop.job(DAY))
    assert (found.rows_added, found.rows_removed) == (0, 0)
    known = pd.DataFrame({"toy_id": keys, "returned": [1.0, 0.0] * 60, "known_at": pd.Timestamp(DAY, tz="UTC")})
    known.to_parquet(open_shop.settings.data / "returns" / f"day={DAY}" / "part-0.parquet", index=False)
    job = open_shop.job(DAY)
    assert performance(open_shop.settings, job.spec, job.partition, datetime(2026, 2, 1, tzinfo=UTC)).rows == 120
    assert predictions_path(open_shop.settings, job.spec).exists()


def test_a_key_with_a_nul_in_its_name_is_refused_before_anything_is_written(open_shop: Any) -> None:
    open_shop.write_model(spec=SPEC.replace("key: [toy_id]", 'key: ["toy_id\\0"]'))
    with pytest.raises(LamplighterError, match="a column with a NUL in its name cannot be published"):
        open_shop.job(DAY)


@pytest.mark.parametrize("kind", ["values_to_be_unique", "most_common_value_to_be_in_set"])
def test_a_check_on_durations_is_told_without_their_values(shop: Any, kind: str) -> None:
    frame = rows_of(date.fromisoformat(DAY))
    frame["held"] = pd.to_timedelta(np.arange(len(frame)) // 2, unit="s") + pd.Timedelta("3h")
    shop.write_sales(DAY, frame)
    more = ", value_set: [1]" if "common" in kind else ""
    check = f"  - {{expectation: expect_column_{kind}, arguments: {{column: held{more}}}}}\noutput_checks"
    shop.write_model(SPEC.replace("output_checks", check))
    with pytest.raises(Misconfigured, match=f"expect_column_{kind} could not be evaluated") as caught:
        judge_partitions(shop.settings, shop.job(DAY).spec, [shop.job(DAY).partition])
    assert "03:00" not in str(caught.value)


def test_a_lack_of_memory_is_no_broken_file() -> None:
    lack = pa.lib.ArrowMemoryError("malloc of size 42000000 failed")
    assert isinstance(unreadable("/d/day=1/p.parquet", lack), Unavailable)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: together([pa.table({"a": [1]})], "here"),
        lambda: publishable(pa.table({"a": [1]}), "here"),
        lambda: canonical(pa.chunked_array([[1]])),
    ],
)
def test_nor_are_its_types_to_blame(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def lack(*_: Any, **__: Any) -> Any:
        raise pa.lib.ArrowMemoryError("malloc of size 42000000 failed")

    for name in ("jobs.source.pa.concat_tables", "jobs.key_types._publishable_type", "jobs.content_digest._widest"):
        monkeypatch.setattr(name, lack)
    with pytest.raises(MemoryError):
        ask()


def test_a_feature_without_any_value_in_the_window_is_named_when_the_fit_fails(shop: Any) -> None:
    for n in range(1, 15):
        day = f"2026-01-{n:02}"
        frame = pd.read_parquet(shop.sales(day))
        frame["price"] = np.nan
        shop.write_sales(day, frame)
    shop.write_model(SPEC.replace("required: true, ", ""))
    with pytest.raises(Misconfigured, match=r"cannot be fitted: .* has a value in price: leave that out of the spec\."):
        train(shop.job("2026-01-14"))


def test_names_of_columns_that_a_database_would_cut_off_or_has_itself_are_no_keys() -> None:
    output = "output: {kind: sql, database: SCORES, table: toys}"
    text = SPEC.replace("output: {table: toys}", output)
    for name, why in (("x" * 64, "is too long a name for a column of a database: at most 63 bytes"),
                      ("ctid", "a column of a database cannot be called ctid, as PostgreSQL has one")):  # fmt: skip
        with pytest.raises(InvalidSpec, match=why):
            parse_spec(text.replace("key: [toy_id]", f"key: [{name}]"), "model.yaml")
        parse_spec(SPEC.replace("key: [toy_id]", f"key: [{name}]"), "model.yaml")


@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.timestamp("us", "UTC")])
def test_a_key_of_another_type_than_the_table_has_is_refused_before_anything_is_scored(
    open_shop: Any, kind: pa.DataType
) -> None:
    score_partition(open_shop.job("2026-01-15"))
    keys = pa.array(range(len(rows()))).cast(pa.int64()).cast(kind)
    open_shop.write_sales(DAY, rows().set_column(0, "toy_id", keys))
    job = open_shop.job(DAY)
    plan(job)
    with pytest.raises(Rejected, match=r"the key is of another type \(toy_id .*\) than in the table toys: deliver"):
        input_gate(job)
    other = SPEC.replace("output: {table: toys}", "output: {table: others}")
    open_shop.write_model(other)
    assert score_partition(open_shop.job(DAY, "again")).publication.rows_scored == len(keys)
