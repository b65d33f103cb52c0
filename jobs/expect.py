"""Great Expectations on batches: the library judges every batch, what it found is added up, and it judges the whole.

The library drops an unknown expectation with a log line and calls an empty frame valid. Here each expectation that was
asked is one object, which gives one answer or raises Misconfigured.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.absent import absent
from jobs.column_statistics import STATISTICS
from jobs.errors import LamplighterError, Misconfigured, texts_of, without_values
from jobs.frames import EXACT, to_frame
from model_registry.evidence import Check, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from jobs.column_statistics import Statistic
    from jobs.spec import InputCheck, ModelSpec

EXAMPLES = 5
LONGEST = 60
BOUNDED = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
OF_ROWS = {
    "expect_column_max_to_be_between",
    "expect_column_median_to_be_between",
    "expect_column_min_to_be_between",
    "expect_column_most_common_value_to_be_in_set",
    "expect_column_quantile_values_to_be_between",
}
"""What these observe are values of rows."""
UNUSED = ("boto3", "botocore", "google.api_core", "google.auth", "google.cloud", "google.oauth2", "pyspark")
"""What the library loads when it is installed, for stores and engines that no check here has: 40 MB, half a second."""


def columns_of(check: InputCheck) -> list[str]:
    """The columns that a check looks at. Raises Misconfigured when one is not named by text."""
    named = [check.arguments[n] for n in ("column", "column_A", "column_B") if n in check.arguments]
    listed = check.arguments.get("column_list", [])
    if not isinstance(listed, list) or not all(isinstance(column, str) for column in [*named, *listed]):
        arguments = bounded(check.arguments, 200)
        raise Misconfigured(f"input_checks: {check.expectation} with {arguments}: a column is named by text.")
    return [*named, *listed]


class Question:
    """One input check about rows that come in batches."""

    def __init__(self, asked: InputCheck) -> None:
        self.asked = asked
        self._expectation = make(asked)
        self._rows = self._nulls = self._considered = self._unexpected = 0
        self._examples: list[Any] = []
        statistic = STATISTICS.get(asked.expectation)
        self._statistic = statistic(asked.arguments, self._look) if statistic else None

    def add(self, table: pa.Table, frame: pd.DataFrame) -> None:
        """Look at a batch; `frame` holds its rows for pandas. Raises Misconfigured when that cannot be done."""
        self._rows += table.num_rows
        if self._statistic is not None:
            columns = _without_halves(table.select(columns_of(self.asked)))
            try:
                self._statistic.add(columns)
            except MemoryError:
                raise
            except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
                raise self._failed(without_values(error)) from None
        elif not self.asked.expectation.startswith("expect_table_"):
            self._add_up(self._look(frame), table)

    def count(self, rows: int) -> None:
        """Take note of rows that nobody needs to look at."""
        self._rows += rows

    def answer(self) -> Check:
        """The library's judgement of all batches together."""
        if self._statistic is not None:
            found = self._metrics(self._statistic)
            self._unexpected, self._examples = found.pop("unexpected", 0), found.pop("examples", [])
            self._nulls = self._rows - found.get("considered", self._rows)
            self._considered = found.pop("considered", self._rows)
        else:
            found = {}
        result = self._judge(found)
        try:
            content = self._content(result)
        except TypeError as error:  # examples that the library cannot write down, such as durations
            raise self._failed(without_values(error, map(str, self._examples))) from None
        return _check(self.asked, content, bool(result.success))

    def _metrics(self, statistic: Statistic) -> dict[str, Any]:
        try:
            return statistic.metrics()
        except OverflowError as error:  # an instant that no calendar of Python has
            raise self._failed(without_values(error)) from None

    def _look(self, frame: pd.DataFrame) -> dict[str, Any]:
        try:
            return self._content(_batch(frame).validate(self._expectation, result_format=BOUNDED))
        except (LamplighterError, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - of values that the library cannot write down, such as durations
            raise self._failed(without_values(error, texts_of(frame))) from None

    def _add_up(self, found: dict[str, Any], table: pa.Table) -> None:
        missing = found.get("missing_count", found["unexpected_count"])  # checks about nulls have no other
        self._nulls += missing
        self._considered += found["element_count"] - missing
        self._unexpected += found["unexpected_count"]
        if len(self._examples) < EXAMPLES:
            whole = [pa.types.is_integer(table[name].type) for name in columns_of(self.asked)]
            of_one = "column" in self.asked.arguments  # whose values may be lists and structs themselves
            some = found.get("partial_unexpected_list") or []
            some = [_as_it_was(one, whole[0]) if of_one else _row_as_it_was(one, whole) for one in some]
            self._examples = [*self._examples, *some][:EXAMPLES]

    def _judge(self, found: dict[str, Any]) -> Any:
        from great_expectations.execution_engine import PandasExecutionEngine

        engine, settings = PandasExecutionEngine(), {"result_format": dict(BOUNDED)}
        needed = self._expectation.get_validation_dependencies(execution_engine=engine, runtime_configuration=settings)
        try:
            values = {made.id: self._metric(name, found) for name, made in needed.metric_configurations.items()}
            return self._expectation.metrics_validate(values, runtime_configuration=settings, execution_engine=engine)
        except (TypeError, ValueError, KeyError) as error:  # bounds of another type than the values have
            raise self._failed(without_values(error)) from None

    def _metric(self, name: str, found: dict[str, Any]) -> Any:
        """What all batches together give for a metric that the library asks for."""
        if name in found:
            return found[name]
        if name == "column_values.nonnull.unexpected_count":
            return self._nulls
        ends = {
            "row_count": self._rows,
            "unexpected_count": self._unexpected,
            "filtered_row_count": self._considered,
            "unexpected_values": self._examples,
            "unexpected_index_list": [],
            "unexpected_index_query": None,
        }
        return ends[name.rpartition(".")[2]]

    def _content(self, result: Any) -> dict[str, Any]:
        """What the library found. Raises Misconfigured when it could not look."""
        content = result.to_json_dict()
        failed = content.get("exception_info") or {}
        inner = [failed, *(v for v in failed.values() if isinstance(v, dict))]
        if any(info.get("raised_exception") for info in inner):
            message = next((info["exception_message"] for info in inner if info.get("exception_message")), "no message")
            raise self._failed(without_values(message))
        found: dict[str, Any] = content.get("result", {})
        return found

    def _failed(self, message: str) -> Misconfigured:
        arguments = bounded(self.asked.arguments, 200)
        return Misconfigured(
            f"input_checks: {self.asked.expectation} could not be evaluated with {arguments}: {bounded(message, 300)}"
        )


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A batch for pandas. Integers beside nulls are floats where those are the same numbers, and objects elsewhere.

    Raises Rejected as `to_frame` does.
    """
    frame = to_frame(table)
    for name in table.column_names:
        column = table[name]
        if column.null_count and pa.types.is_integer(column.type):
            ends = pc.min_max(column).as_py().values()
            if any(end is not None and abs(end) > EXACT for end in ends):
                frame[name] = column.to_pandas(integer_object_nulls=True)
    return frame


def _without_halves(table: pa.Table) -> pa.Table:
    """The table with floats that Arrow has functions for."""
    for place, field in enumerate(table.schema):
        if pa.types.is_float16(field.type):
            table = table.set_column(place, field.name, table[place].cast(pa.float32()))
    return table


def _row_as_it_was(row: Any, whole: Sequence[bool]) -> Any:
    """An example of several columns, without the `.0` that integers get in a batch with nulls.

    `whole` says which columns are integers.
    """
    values = [_as_it_was(*one) for one in zip(row.values() if isinstance(row, dict) else row, whole, strict=True)]
    return dict(zip(row, values, strict=True)) if isinstance(row, dict) else values


def _as_it_was(example: Any, whole: bool) -> Any:  # noqa: FBT001
    return int(example) if whole and isinstance(example, float) and example.is_integer() else example


def check_expectations(spec: ModelSpec) -> None:
    """Raise Misconfigured when the arguments of an input check are not those of its expectation."""
    for check in spec.input_checks:
        make(check)


def make(check: InputCheck) -> Any:
    """The library's expectation for a check. Raises Misconfigured for arguments that it does not take."""
    _definition()
    from great_expectations.expectations.registry import get_expectation_impl

    try:
        return get_expectation_impl(check.expectation)(**check.arguments)
    except (ValueError, TypeError) as error:  # pydantic's errors are ValueErrors
        reason = bounded(" ".join(str(error).split()), 300)
        raise Misconfigured(f"input_checks: {check.expectation} with {check.arguments}: {reason}") from error


def _batch(frame: pd.DataFrame) -> Any:
    return _definition().get_batch({"dataframe": frame})


@cache
def _definition() -> Any:
    """Batches of a context of this process alone: a context in files loses data with several processes."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    with absent(*UNUSED):
        import great_expectations as gx

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it sets its own
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return (
        context.data_sources.add_pandas("input").add_dataframe_asset("rows").add_batch_definition_whole_dataframe("all")
    )


def _check(asked: InputCheck, found: dict[str, Any], passed: bool) -> Check:  # noqa: FBT001
    arguments = dict(asked.arguments)
    column = arguments.pop("column", None)
    expected = ", ".join(f"{k} {bounded(v, 120)}" for k, v in arguments.items()) or "to hold for every row"
    observed = found.get("observed_value")
    rows = found.get("unexpected_count")
    values: Sequence[Any] = found.get("partial_unexpected_list") or []
    if asked.expectation in OF_ROWS and observed is not None:
        values, observed = [observed], "a value within" if passed else "a value outside"
    if observed is None:
        of = f"of {found['element_count']} rows" if "element_count" in found else "values"
        observed = "no rows" if rows is None else f"{rows} {of} unexpected"
    return Check(
        asked.expectation.removeprefix("expect_").replace("_", " "),
        passed,
        observed if isinstance(observed, bool | int | float) else bounded(observed, 200),
        expected,
        Severity(asked.severity),
        column,
        rows,
        values=tuple(dict.fromkeys(bounded(v, 200 if len(values) == 1 else LONGEST) for v in values if v is not None)),
    )


def bounded(value: object, longest: int = LONGEST) -> str:
    """A value as printable text that is not too long."""
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= longest else text[: longest - 3] + "..."
