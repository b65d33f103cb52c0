"""The input gate, with the real Great Expectations: closed where the library would be open."""

import json
import re
from typing import Any

import pandas as pd
import pytest

from jobs.errors import Misconfigured, Rejected
from jobs.input_gate import input_gate, judge_partitions
from jobs.report_page import render_page
from model_registry.evidence import Check, GateReport

DAY = "2026-01-16"


def with_checks(shop: Any, *checks: dict[str, Any]) -> None:
    spec = (shop.settings.models / "toys" / "model.yaml").read_text()
    spec = re.sub(r"input_checks:\n(  - .*\n)+", f"input_checks: {json.dumps(list(checks))}\n", spec)
    shop.write_model(spec=spec)


def test_a_good_batch_passes_and_every_check_was_evaluated(shop: Any) -> None:
    result = input_gate(shop.job(DAY))
    assert result.report.passed
    assert [c.name for c in result.report.checks] == [
        "rows are there",
        "keys are unique",
        "table row count to be between",
        "column values to not be null",
    ]
    assert result.rows == 120


def test_a_closed_gate_says_which_check_which_column_how_many_rows_and_examples(shop: Any) -> None:
    with_checks(
        shop,
        {
            "expectation": "expect_column_values_to_be_in_set",
            "arguments": {"column": "colour", "value_set": ["red", "green"]},
        },
    )
    with pytest.raises(Rejected) as caught:
        input_gate(shop.job(DAY))
    said = str(caught.value)
    rows = int((pd.read_parquet(shop.sales(DAY))["colour"] == "blue").sum())
    assert "column values to be in set on column colour FAILED" in said
    assert f"{rows} rows" in said
    assert "blue" not in said  # no values of rows in what is logged
    assert "blue" in (shop.job(DAY).folder / "input-gate.html").read_text()


def test_examples_and_messages_are_bounded(shop: Any) -> None:
    rows = pd.read_parquet(shop.sales(DAY)).assign(colour=lambda f: "\x1b[31m" + "x" * 5000 + f["toy_id"])
    shop.write_sales(DAY, rows)
    with_checks(
        shop,
        {"expectation": "expect_column_values_to_be_in_set", "arguments": {"column": "colour", "value_set": ["red"]}},
    )
    with pytest.raises(Rejected) as caught:
        input_gate(shop.job(DAY))
    assert len(str(caught.value)) < 1500
    assert "\x1b" not in str(caught.value)


def test_a_warning_is_reported_and_leaves_the_gate_open(shop: Any) -> None:
    check = {"expectation": "expect_column_values_to_not_be_null", "arguments": {"column": "colour"}}
    with_checks(shop, {**check, "severity": "warning"})
    report = input_gate(shop.job(DAY)).report
    assert report.passed
    assert [c.column for c in report.warnings] == ["colour"]
    assert "1 warned" in report.verdict()


def test_a_batch_without_rows_is_closed(shop: Any) -> None:
    shop.write_sales(DAY, pd.read_parquet(shop.sales(DAY)).head(0))
    with pytest.raises(Rejected, match="rows are there FAILED"):
        input_gate(shop.job(DAY))


def test_arguments_that_an_expectation_does_not_take_are_misconfigured(shop: Any) -> None:
    with_checks(
        shop, {"expectation": "expect_column_values_to_be_between", "arguments": {"column": "price", "smallest": 3}}
    )
    with pytest.raises(Misconfigured, match="expect_column_values_to_be_between"):
        input_gate(shop.job(DAY))


def test_a_check_that_cannot_be_evaluated_is_not_passed(shop: Any) -> None:
    with_checks(
        shop, {"expectation": "expect_column_values_to_be_between", "arguments": {"column": "colour", "min_value": 3}}
    )
    with pytest.raises((Misconfigured, Rejected)):
        input_gate(shop.job(DAY))


def test_a_check_on_a_column_that_is_not_there_names_it(shop: Any) -> None:
    with_checks(shop, {"expectation": "expect_column_values_to_not_be_null", "arguments": {"column": "smell"}})
    with pytest.raises(Rejected, match="has no column smell"):
        input_gate(shop.job(DAY))


def test_one_bad_partition_of_a_training_window_is_named(shop: Any) -> None:
    with_checks(shop, {"expectation": "expect_table_row_count_to_be_between", "arguments": {"min_value": 100}})
    shop.write_sales("2026-01-08", pd.read_parquet(shop.sales("2026-01-08")).head(7))
    with pytest.raises(Rejected, match=r"observed 7, for example partition 2026-01-08"):
        input_gate(shop.job("2026-01-14"), "train")
    job = shop.job("2026-01-20")
    assert judge_partitions(shop.settings, job.spec, [job.partition]).report.passed


def test_the_page_works_offline_and_lets_nothing_hostile_through() -> None:
    check = Check("<script>alert(1)</script>", passed=False, observed="<b>", expected="&", examples=("<img src=x>",))
    page = render_page([GateReport("input gate", "<x>", (check,))])
    assert "<script" not in page
    assert "<img" not in page
    assert not re.search(r"(src|href)\s*=\s*[\"']?(http|//)", page)


def test_the_page_is_kept_with_the_run(shop: Any) -> None:
    job = shop.job(DAY)
    input_gate(job)
    page = (job.folder / "input-gate.html").read_text()
    assert "The input gate of sales 2026-01-16 is open: 4 checks evaluated." in page
