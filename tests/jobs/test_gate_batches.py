"""The input gate on batches says what Great Expectations says of all rows at once, however the rows are cut."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from jobs.errors import Misconfigured, Rejected
from jobs.exact import ExactSum, Ranks
from jobs.expect import BOUNDED, Question, _batch, frame_of, make
from jobs.expectations import Expectation
from jobs.input_gate import judge_partitions
from jobs.key_counts import KeyCounts
from jobs.spec import InputCheck
from model_registry.evidence import Check

DAY = "2026-01-16"
ROWS = 60


def table() -> pa.Table:
    """Rows with everything that makes batches differ: nulls, NaN, ties, all-null stretches, integers with few nulls."""
    random = np.random.default_rng(7)
    number = random.normal(10, 3, ROWS).round(1)
    number[random.random(ROWS) < 0.1] = np.nan
    whole: list[Any] = random.integers(0, 40, ROWS).tolist()
    whole[37] = None
    text = random.choice(["red", "green", "blue", "", "née", None], ROWS).tolist()
    text[:20] = [None] * 20
    at = [datetime(2026, 1, 1 + n % 20, tzinfo=UTC) if n % 9 else None for n in range(ROWS)]
    return pa.table(
        {
            "number": pa.array(number),
            "whole": pa.array(whole, pa.int64()),
            "text": pa.array(text, pa.string()),
            "nothing": pa.array([None] * ROWS, pa.float64()),
            "at": pa.array(at, pa.timestamp("us", "UTC")),
            "flag": pa.array([n % 3 == 0 if n % 5 else None for n in range(ROWS)]),
            "id": pa.array(range(ROWS)),
        }
    )


CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("expect_column_distinct_values_to_be_in_set", {"column": "text", "value_set": ["red", "green", "blue"]}),
    ("expect_column_distinct_values_to_be_in_set", {"column": "whole", "value_set": list(range(40))}),
    ("expect_column_max_to_be_between", {"column": "number", "max_value": 15}),
    ("expect_column_max_to_be_between", {"column": "whole", "max_value": 39}),
    ("expect_column_max_to_be_between", {"column": "nothing", "max_value": 39}),
    ("expect_column_max_to_be_between", {"column": "at", "max_value": "2026-01-20T00:00:00+00:00"}),
    ("expect_column_min_to_be_between", {"column": "number", "min_value": 0, "strict_min": True}),
    ("expect_column_mean_to_be_between", {"column": "number", "min_value": 9, "max_value": 11}),
    ("expect_column_mean_to_be_between", {"column": "whole", "min_value": 30}),
    ("expect_column_mean_to_be_between", {"column": "nothing", "min_value": 30}),
    ("expect_column_median_to_be_between", {"column": "number", "min_value": 9, "max_value": 11}),
    ("expect_column_median_to_be_between", {"column": "nothing", "min_value": 9}),
    ("expect_column_most_common_value_to_be_in_set", {"column": "text", "value_set": ["red", "née"]}),
    ("expect_column_most_common_value_to_be_in_set", {"column": "id", "value_set": [3], "ties_okay": True}),
    ("expect_column_most_common_value_to_be_in_set", {"column": "id", "value_set": [3]}),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "id", "column_B": "whole", "mostly": 0.9}),
    ("expect_column_pair_values_to_be_equal", {"column_A": "number", "column_B": "whole", "mostly": 0.01}),
    ("expect_column_proportion_of_unique_values_to_be_between", {"column": "whole", "min_value": 0.1}),
    ("expect_column_proportion_of_unique_values_to_be_between", {"column": "nothing", "max_value": 0.5}),
    (
        "expect_column_quantile_values_to_be_between",
        {"column": "number", "quantile_ranges": {"quantiles": [0.1, 0.5], "value_ranges": [[5, 7], [9, 9.5]]}},
    ),
    ("expect_column_stdev_to_be_between", {"column": "number", "min_value": 2.9, "max_value": 3.1}),
    ("expect_column_sum_to_be_between", {"column": "number", "max_value": 1}),
    ("expect_column_sum_to_be_between", {"column": "whole", "min_value": 1}),
    ("expect_column_sum_to_be_between", {"column": "nothing", "max_value": 1}),
    ("expect_column_unique_value_count_to_be_between", {"column": "text", "min_value": 5, "max_value": 5}),
    ("expect_column_value_lengths_to_be_between", {"column": "text", "min_value": 3, "mostly": 0.8}),
    ("expect_column_values_to_be_between", {"column": "number", "min_value": 5, "max_value": 15, "mostly": 0.93}),
    ("expect_column_values_to_be_between", {"column": "whole", "min_value": 5}),
    ("expect_column_values_to_be_in_set", {"column": "text", "value_set": ["red", "green"], "mostly": 0.4}),
    ("expect_column_values_to_be_in_set", {"column": "whole", "value_set": [1, 2]}),
    ("expect_column_values_to_be_in_set", {"column": "nothing", "value_set": [1, 2]}),
    ("expect_column_values_to_be_null", {"column": "number", "mostly": 0.05}),
    ("expect_column_values_to_be_unique", {"column": "id"}),
    ("expect_column_values_to_be_unique", {"column": "text", "mostly": 0.1}),
    ("expect_column_values_to_match_regex", {"column": "text", "regex": "e", "mostly": 0.8}),
    ("expect_column_values_to_not_be_in_set", {"column": "text", "value_set": ["blue"]}),
    ("expect_column_values_to_not_be_null", {"column": "whole", "mostly": 0.99}),
    ("expect_column_values_to_not_be_null", {"column": "whole", "mostly": 0.98}),
    ("expect_column_values_to_not_match_regex", {"column": "text", "regex": "^gr"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["text", "whole"]}),
    (
        "expect_compound_columns_to_be_unique",
        {"column_list": ["text", "number"], "ignore_row_if": "any_value_is_missing"},
    ),
    ("expect_multicolumn_sum_to_equal", {"column_list": ["id", "whole"], "sum_total": 100, "mostly": 0.1}),
    ("expect_table_row_count_to_be_between", {"max_value": 89}),
    ("expect_table_row_count_to_equal", {"value": 90}),
]


def asked(expectation: str, arguments: dict[str, Any]) -> InputCheck:
    return TypeAdapter(InputCheck).validate_python({"expectation": expectation, "arguments": arguments})


def test_every_expectation_that_a_spec_may_name_is_compared() -> None:
    assert {expectation for expectation, _ in CHECKS} == set(Expectation.__args__)


@pytest.mark.parametrize(("expectation", "arguments"), CHECKS)
def test_batches_of_any_size_get_the_verdict_of_the_whole(expectation: str, arguments: Any) -> None:
    check, rows = asked(expectation, arguments), table()
    whole = _batch(rows.to_pandas()).validate(make(check), result_format=BOUNDED).to_json_dict()
    assert not whole["exception_info"].get("exception_message")
    answers = []
    for size in (1, 7, 1000):
        question = Question(check)
        for start in range(0, ROWS, size):
            batch = rows.slice(start, size)
            question.add(batch, frame_of(batch))
        answers.append(question.answer())
    assert answers[0] == answers[1] == answers[2]
    assert answers[0].passed == whole["success"]
    found = whole["result"]
    assert answers[0].rows == found.get("unexpected_count")
    if isinstance(found.get("observed_value"), int | float) and not isinstance(answers[0].observed, str):
        assert answers[0].observed == pytest.approx(found["observed_value"], rel=1e-12)
    elif found.get("observed_value") is not None:
        assert answers[0].observed in {"a value within", "a value outside"}
        numbers = TypeAdapter(list[str]).validate_python(list(answers[0].values))
        if isinstance(found["observed_value"], int | float):
            assert [float(number) for number in numbers] == pytest.approx([found["observed_value"]])


def test_the_report_of_a_window_does_not_depend_on_the_batches(shop: Any) -> None:
    spec = shop.job("2026-01-14").spec
    partitions = [shop.job(f"2026-01-{day:02}").partition for day in range(4, 14)]
    reports = [judge_partitions(shop.settings, spec, partitions, size) for size in (7, 100, 100_000)]
    assert reports[0] == reports[1] == reports[2]
    assert reports[0].report.passed
    assert reports[0].rows == 1200


@pytest.mark.parametrize(
    ("expectation", "arguments", "shown"),
    [
        ("in_set", {"column": "stops", "value_set": [1]}, ("[1, 2]", "[3]")),
        ("in_set", {"column": "geo", "value_set": [1]}, ("{'lat': 1.5, 'lon': 2.0}",)),
        ("be_null", {"column": "stops"}, ("[1, 2]", "[3]")),
        ("match_regex", {"column": "geo", "regex": "north"}, ("{'lat': 1.5, 'lon': 2.0}",)),
        ("equal", {"column_A": "whole", "column_B": "geo"}, ("[1, {'lat': 1.5, 'lon': 2.0}]",)),
    ],
)
def test_lists_and_structs_may_be_examples(expectation: str, arguments: Any, shown: Any) -> None:
    rows = pa.table({"stops": [[1, 2], [3]], "geo": [{"lat": 1.5, "lon": 2.0}] * 2, "whole": pa.array([1, None])})
    name = (
        "expect_column_pair_values_to_be_equal" if expectation == "equal" else f"expect_column_values_to_{expectation}"
    )
    question = Question(asked(name.replace("to_in", "to_be_in"), arguments))
    answer = ask(question, rows)
    assert not answer.passed
    assert answer.values[: len(shown)] == shown


@pytest.mark.parametrize("column", ["text", "at"])
def test_a_statistic_of_numbers_wants_numbers(column: str) -> None:
    question = Question(asked("expect_column_mean_to_be_between", {"column": column, "min_value": 0}))
    with pytest.raises(Misconfigured, match=r"could not be evaluated with .* the column does not hold numbers"):
        question.add(table(), table().to_pandas())


FINITE = st.lists(st.floats(allow_nan=False, width=64), max_size=30)


@given(values=FINITE, cut=st.integers(0, 30))
def test_sums_do_not_depend_on_the_batches(values: list[float], cut: int) -> None:
    whole, parts = ExactSum(), ExactSum()
    whole.add(np.array(values, float))
    parts.add(np.array(values[cut:], float))
    parts.add(np.array(values[:cut], float))
    found = [(one.total(), one.mean(), one.deviation()) for one in (whole, parts)]
    assert np.array_equal(found[0], found[1], equal_nan=True)
    if all(abs(value) < 1e300 for value in values):
        assert found[0][0] == math.fsum(values)


@given(values=FINITE.filter(bool), share=st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.99, 1.0]))
@pytest.mark.parametrize("interpolation", ["nearest", "lower", "higher"])
def test_quantiles_are_those_of_pandas(values: Any, share: float, interpolation: str) -> None:
    ranks = Ranks()
    for value in values:
        ranks.add(np.array([value]))
    expected = pd.Series(values).quantile(share, interpolation=interpolation)
    assert np.array_equal(ranks.quantile(share, interpolation), expected + 0.0, equal_nan=True)


def ask(question: Question, rows: pa.Table) -> Check:
    question.add(rows, frame_of(rows))
    return question.answer()


def test_instants_and_days_that_no_calendar_of_python_has_are_told_in_a_sentence() -> None:
    rows = pa.table({"at": pa.array([2**62, 5], pa.timestamp("us"))})
    for name, arguments in (
        ("max_to_be_between", {"max_value": 1}),
        ("most_common_value_to_be_in_set", {"value_set": [1]}),
    ):
        question = Question(asked(f"expect_column_{name}", {"column": "at", **arguments}))
        with pytest.raises(Misconfigured, match=r"could not be evaluated with .*: OverflowError: date value out of"):
            ask(question, rows)
    days = pa.table({"day": pa.array([2**30, 5], pa.int32()).cast(pa.date32())})
    with pytest.raises(Rejected, match=r"A column of days \(day\) holds one beyond the year 9999"):
        frame_of(days)


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        (pa.array([2**62, 2**62, 5], pa.timestamp("us")), f"{2**62} as timestamp[us]"),
        (pa.array([-(2**61)] * 2, pa.timestamp("us", "UTC")), f"{-(2**61)} as timestamp[us, tz=UTC]"),
        (pa.array([2**30] * 2, pa.int32()).cast(pa.date32()), f"{2**30} as date32[day]"),
    ],
)
def test_a_key_that_no_calendar_of_python_has_is_shown_as_its_number(keys: Any, shown: str) -> None:
    counts = KeyCounts()
    counts.add(pa.table([keys, pa.array(["a"] * len(keys))], names=["a", "b"]))
    assert counts.duplicates(3).first == ((shown, "a"),)


@given(keys=st.lists(st.tuples(st.integers(0, 9), st.text("ab", max_size=2)), max_size=60), held=st.integers(1, 20))
def test_keys_are_counted_exactly_however_little_is_held(keys: Any, held: int) -> None:
    counts = KeyCounts(held)
    schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
    for start in range(0, len(keys), 7):
        part = keys[start : start + 7]
        counts.add(pa.table([[k[0] for k in part], [k[1] for k in part]], schema=schema))
    twice = counts.duplicates(3)
    expected = {key: keys.count(key) for key in keys if keys.count(key) > 1}
    assert (twice.keys, twice.rows) == (len(expected), sum(expected.values()))
    assert list(twice.first) == list(dict.fromkeys(k for k in keys if k in expected))[:3]
