"""The input gate: Great Expectations judges a batch, and this module closes what the library leaves open.

The library drops an unknown expectation with a log line, passes an empty suite, and calls an empty frame valid. So what
was evaluated is compared with what was asked, and rows and unique keys are always checked.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.dataset import training_window
from jobs.errors import Misconfigured, Rejected
from jobs.source import input_digest, partition_files, read, together
from jobs.steps import step
from jobs.table import publishable
from model_registry.evidence import Check, GateReport, Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from jobs.context import JobContext
    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import InputCheck, ModelSpec

EXAMPLES = 5
LONGEST = 60


@dataclass(frozen=True)
class InputGateResult:
    """What the input gate said, and which files it said it about."""

    report: GateReport
    rows: int
    input_digest: str


def input_gate(job: JobContext, purpose: str = "score") -> InputGateResult:
    """Judge the partition (purpose `score`) or the whole training window (`train`), and keep the report.

    Raises Rejected with the report when the gate is closed; JSON and HTML are kept in both cases.
    """
    from jobs.report_page import write_page

    partitions = training_window(job.spec, job.partition).partitions if purpose == "train" else (job.partition,)
    result = judge_partitions(job.settings, job.spec, partitions)
    job.keep("input-gate", result)
    step("input-gate:kept")
    write_page(job.folder / "input-gate.html", [result.report])
    if not result.report.passed:
        raise Rejected(result.report.verdict(), result.report)
    return result


def judge_partitions(settings: Settings, spec: ModelSpec, partitions: Sequence[Partition]) -> InputGateResult:
    """The report about these partitions together: table-wide checks for each one, column checks over all rows."""
    found = [partition_files(settings.data, spec.source.path, spec.source.column, p) for p in partitions]
    columns = needed_columns(spec)
    tables = [
        together([read(f.path, None, columns) for f in files], f"{spec.source.path} {partition}")
        for files, partition in zip(found, partitions, strict=True)
    ]
    subject = f"{spec.source.path} {partitions[0]}" + (f" to {partitions[-1]}" if len(partitions) > 1 else "")
    per_table = [c for c in spec.input_checks if c.expectation.startswith("expect_table_")]
    per_column = [c for c in spec.input_checks if c not in per_table]
    checks = [*_always(tables, partitions, spec)]
    if all(t.num_rows for t in tables):
        frames = [t.to_pandas() for t in tables]
        checks += [_worst([_expect(f, [check])[0] for f in frames], partitions) for check in per_table]
        if per_column:
            checks += _expect(together(tables, subject).to_pandas(), per_column)
    digest = input_digest([file for files in found for file in files])
    return InputGateResult(GateReport("input gate", subject, tuple(checks)), sum(map(len, tables)), digest)


def needed_columns(spec: ModelSpec) -> list[str]:
    """The columns that the pipeline, the key and the checks look at."""
    asked: list[str] = []
    for check in spec.input_checks:
        named = [check.arguments[n] for n in ("column", "column_A", "column_B") if n in check.arguments]
        listed = check.arguments.get("column_list", [])
        if not isinstance(listed, list) or not all(isinstance(column, str) for column in [*named, *listed]):
            arguments = _bounded(check.arguments, 200)
            raise Misconfigured(f"input_checks: {check.expectation} with {arguments}: a column is named by text.")
        asked += [*named, *listed]
    return list(dict.fromkeys([*spec.key, *spec.features, *asked]))


def _always(tables: list[pa.Table], partitions: Sequence[Partition], spec: ModelSpec) -> list[Check]:
    empty = [p.key for p, table in zip(partitions, tables, strict=True) if not table.num_rows]
    rows = Check(
        "rows are there",
        not empty,
        sum(map(len, tables)),
        "at least one row in each partition",
        examples=tuple(empty[:5]),
    )
    twice = together([_twice(t, spec, str(p)) for t, p in zip(tables, partitions, strict=True)], spec.source.path)
    examples = tuple(
        _bounded(" ".join(str(v) for v in row.values()))
        for row in twice.select(list(spec.key)).slice(0, EXAMPLES).to_pylist()
    )
    extra = int(pc.sum(twice["count_all"]).as_py() or 0)
    unique = Check(
        "keys are unique",
        not len(twice),
        f"{len(twice)} keys more than once",
        "each key once",
        column=", ".join(spec.key),
        rows=extra,
        examples=examples,
    )
    return [rows, unique]


def _twice(table: pa.Table, spec: ModelSpec, partition: str) -> pa.Table:
    """The keys that more than one row of a partition has. Rows without a key are not meant: they will be rejected."""
    key = list(spec.key)
    counts = (
        publishable(table.select(key), f"{spec.source.path} {partition}").group_by(key).aggregate([([], "count_all")])
    )
    for name in key:
        counts = counts.filter(pc.invert(pc.is_null(counts[name], nan_is_null=True)))
    return counts.filter(pc.greater(counts["count_all"], 1))


def _worst(checks: list[Check], partitions: Sequence[Partition]) -> Check:
    """One check for many partitions: the first that did not pass speaks for all."""
    for check, partition in zip(checks, partitions, strict=True):
        if not check.passed:
            return Check(**{**vars(check), "examples": (f"partition {partition}",)})
    return checks[-1]


def _expect(frame: pd.DataFrame, asked: Sequence[InputCheck]) -> list[Check]:
    """Evaluate checks with Great Expectations. Raises Misconfigured when not each one was evaluated."""
    source, expectations = _data_source(), _expectations(asked)
    asset = source.add_dataframe_asset(f"batch {len(source.assets)}")
    batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    bounded = {"result_format": "SUMMARY", "partial_unexpected_count": EXAMPLES}
    results = [batch.validate(expectation, result_format=bounded) for expectation in expectations]
    return [_check(check, result) for check, result in zip(asked, results, strict=True)]


def check_expectations(spec: ModelSpec) -> None:
    """Raise Misconfigured when the arguments of an input check are not those of its expectation."""
    _data_source()
    _expectations(spec.input_checks)


def _expectations(asked: Sequence[InputCheck]) -> list[Any]:
    from great_expectations.expectations.registry import get_expectation_impl

    made = []
    for check in asked:
        try:
            made.append(get_expectation_impl(check.expectation)(**check.arguments))
        except (ValueError, TypeError) as error:  # pydantic's errors are ValueErrors
            reason = _bounded(" ".join(str(error).split()), 300)
            raise Misconfigured(f"input_checks: {check.expectation} with {check.arguments}: {reason}") from error
    return made


@cache
def _data_source() -> Any:
    """A data source in a context of this process alone: a context in files loses data with several processes."""
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    import great_expectations as gx

    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)  # it sets its own
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context.data_sources.add_pandas("input")


def _check(asked: InputCheck, result: Any) -> Check:
    content = result.to_json_dict()
    failed = content.get("exception_info") or {}
    if failed.get("raised_exception") or any(
        isinstance(v, dict) and v.get("raised_exception") for v in failed.values()
    ):
        raise Misconfigured(
            f"input_checks: {asked.expectation} could not be evaluated with {asked.arguments}: {_message(failed)}"
        )
    found = content.get("result", {})
    arguments = dict(asked.arguments)
    column = arguments.pop("column", None)
    expected = ", ".join(f"{k} {_bounded(v, 120)}" for k, v in arguments.items()) or "to hold for every row"
    observed = found.get("observed_value")
    rows = found.get("unexpected_count")
    if observed is None:
        observed = "no rows" if rows is None else f"{rows} of {found.get('element_count')} rows unexpected"
    examples = tuple(dict.fromkeys(_bounded(v) for v in found.get("partial_unexpected_list") or [] if v is not None))
    return Check(
        asked.expectation.removeprefix("expect_").replace("_", " "),
        bool(result.success),
        observed if isinstance(observed, bool | int | float) else _bounded(observed, 200),
        expected,
        Severity(asked.severity),
        column,
        rows,
        examples[:EXAMPLES],
    )


def _message(failed: dict[str, Any]) -> str:
    inner = [failed, *(v for v in failed.values() if isinstance(v, dict))]
    return next((_bounded(i["exception_message"], 300) for i in inner if i.get("exception_message")), "no message")


def _bounded(value: object, longest: int = LONGEST) -> str:
    text = value if isinstance(value, str) else repr(value)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= longest else text[: longest - 3] + "..."
