"""The input gate: Great Expectations judges a batch, and this module closes what the library leaves open.

The library passes an empty suite, and calls an empty frame valid. So rows and unique keys are always checked. Rows come
in batches, so that a partition of any size is judged in the same memory; the report does not depend on the batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from jobs.batches import BATCH_ROWS, common_schema, empty, in_types, read_batches
from jobs.dataset import training_window
from jobs.errors import Rejected
from jobs.expect import EXAMPLES, Question, bounded, columns_of, frame_of
from jobs.inputs import find_input, pinned
from jobs.key_types import publishable
from jobs.plan import Plan
from jobs.source import SourceFile, file_and_folder, input_digest, with_rows
from jobs.steps import step
from jobs.table import predictions_path, rejected_path, same_types
from jobs.threads import in_threads
from jobs.treat import treat
from jobs.unique_keys import UniqueKeys
from model_registry.evidence import Check, GateReport

if TYPE_CHECKING:
    from jobs.context import JobContext
    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import InputCheck, ModelSpec
    from jobs.storage import Place

GATE_ROWS = BATCH_ROWS // 2  # texts take several times their size as Python's own


@dataclass(frozen=True)
class InputGateResult:
    """What the input gate said, and which files it said it about; by which spec, unless it was for a training."""

    report: GateReport
    rows: int
    input_digest: str
    code: str = ""


@dataclass(frozen=True)
class _Found:
    """What the rows of one partition are like: their number, and the keys that more than one of them has."""

    partition: Partition
    rows: int
    keys_twice: int
    rows_twice: int
    examples: tuple[str, ...]


def input_gate(job: JobContext, purpose: str = "score") -> InputGateResult:
    """Judge the partition (purpose `score`) or the whole training window (`train`), and keep the report.

    Raises Rejected with the report when the gate is closed; JSON and HTML are kept in both cases.
    """
    from jobs.report_page import write_page

    plan = job.recalled("plan", Plan) if purpose == "score" else None
    files = None
    if purpose == "score" and (plan.spec if plan else job.spec).source.kind != "parquet":
        plan = plan or job.recall("plan", Plan)  # a table goes on; what the plan pinned is judged
        files = [pinned(fragment.file for fragment in plan.fragments)]
    job = job.under(plan) if plan is not None else job
    partitions = training_window(job.spec, job.partition).partitions if purpose == "train" else (job.partition,)
    tables = (predictions_path(job.settings, job.spec), rejected_path(job.settings, job.spec))
    result = judge_partitions(
        job.settings, job.spec, partitions, files=files, known=plan, tables=tables if purpose == "score" else ()
    )
    if purpose == "score":
        result = replace(result, code=plan.code if plan else job.code)
    job.keep("input-gate", result)
    step("input-gate:kept")
    write_page(job.folder / "input-gate.html", [result.report])
    if not result.report.passed:
        raise Rejected(result.report.verdict(), result.report)
    return result


def judge_partitions(
    settings: Settings,
    spec: ModelSpec,
    partitions: Sequence[Partition],
    batch_rows: int = GATE_ROWS,
    files: Sequence[Sequence[SourceFile]] | None = None,
    known: Plan | None = None,
    tables: Sequence[Place] = (),
) -> InputGateResult:
    """The report about these partitions together: table-wide checks for each one, column checks over all rows.

    `files` are those of each partition, unless they are to be found here. `known` is a plan for the same files, whose
    digest need not be calculated again if they are as they were. `tables` are where the rows will go, which may have
    types of keys already.
    """
    source = spec.source
    files = [find_input(settings, spec, p).files for p in partitions] if files is None else files
    subject = f"{source.path} {partitions[0]}" + (f" to {partitions[-1]}" if len(partitions) > 1 else "")
    asked = list(dict.fromkeys(name for check in spec.input_checks for name in columns_of(check)))
    filled = [with_rows(mine) for mine in files]
    empties = [[empty(file.path, needed_columns(spec)) for file in mine] for mine in filled]
    schema = _schema(spec, filled, empties, partitions, subject)
    if tables:
        _fits(spec.key, filled[0], empties[0], tables, subject)
    per_table, per_column = _kinds(spec.input_checks)
    questions = [Question(check) for check in per_column]
    judge = _Batches(questions, pa.schema([schema.field(name) for name in asked]), batch_rows)
    found = [_judge_partition(spec, *one, judge) for one in zip(partitions, filled, empties, strict=True)]
    judge.finish()
    checks = _always(spec, found)
    if all(one.rows for one in found):
        checks += [_worst(_table_checks(check, found), partitions) for check in per_table]
        checks += [question.answer() for question in questions]
    digest = _digest([file for mine in files for file in mine], known)
    return InputGateResult(GateReport("input gate", subject, tuple(checks)), sum(one.rows for one in found), digest)


def _fits(
    key: Sequence[str], files: Sequence[SourceFile], empties: Sequence[pa.Table], tables: Sequence[Place], subject: str
) -> None:
    """Raise Rejected when the key is not of one type in all files, or of another one than in a table."""
    known: dict[str, tuple[pa.DataType, str]] = {}
    for file, rows in zip(files, empties, strict=True):
        where = file_and_folder(file.path)
        valued = [name for name in key if not pa.types.is_null(rows.schema.field(name).type)]
        for field in publishable(rows.select(valued), where).schema:
            found, there = known.setdefault(field.name, (field.type, where))
            if found != field.type:
                said = f"the key {field.name} is {field.type}, and {found} in {there}"
                raise Rejected(f"{where}: {said}: deliver one type in all files.")
    fields = pa.schema([(name, found) for name, (found, _) in known.items()])
    if (table := next((table for table in tables if not same_types(fields, table)), None)) is not None:
        said = ", ".join(f"{field.name} {field.type}" for field in fields)
        raise Rejected(
            f"{subject}: the key is of another type ({said}) than in the table {table.name}: deliver the type that "
            f"the table has, or choose another output.table."
        )


def _digest(files: Sequence[SourceFile], known: Plan | None) -> str:
    """Of the files as they were when they were listed, and still are now that they have been read."""
    if known is not None and tuple(files) == known.files and all(file.is_untouched() for file in files):
        return known.input_digest
    return input_digest(files)


def needed_columns(spec: ModelSpec) -> list[str]:
    """The columns that the pipeline, the key and the checks look at."""
    asked = [name for check in spec.input_checks for name in columns_of(check)]
    return list(dict.fromkeys([*spec.key, *spec.features, *asked]))


def _schema(
    spec: ModelSpec,
    files: Sequence[Sequence[SourceFile]],
    empties: Sequence[Sequence[pa.Table]],
    partitions: Sequence[Partition],
    subject: str,
) -> pa.Schema:
    """The types of all columns, from metadata alone. Raises Rejected when the spec cannot take them."""
    columns = needed_columns(spec)
    for mine, tables, partition in zip(files, empties, partitions, strict=True):
        names = [file_and_folder(file.path) for file in mine]
        common_schema(tables, columns, f"{spec.source.path} {partition}", names)
        for file, table in zip(mine, tables, strict=True):
            treat(table, spec, file_and_folder(file.path))
    names = [file_and_folder(file.path) for mine in files for file in mine]
    return common_schema([table for tables in empties for table in tables], columns, subject, names)


def _kinds(checks: Sequence[InputCheck]) -> tuple[list[InputCheck], list[InputCheck]]:
    """Those of each partition as a whole, and those of columns."""
    of_tables = [check for check in checks if check.expectation.startswith("expect_table_")]
    return of_tables, [check for check in checks if check not in of_tables]


class _Batches:
    """Puts the rows of small files together, so that the library is not asked about a handful of rows at a time."""

    def __init__(self, questions: Sequence[Question], schema: pa.Schema, rows: int) -> None:
        self.rows = rows
        self.schema = schema
        self._questions = questions
        self._held: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Take in rows."""
        self._held.append(table)
        while sum(map(len, self._held)) >= self.rows:
            together = pa.concat_tables(self._held)
            self._ask(together.slice(0, self.rows))
            self._held = [together.slice(self.rows)]

    def finish(self) -> None:
        """Ask about the rows that are left."""
        if any(map(len, self._held)):
            self._ask(pa.concat_tables(self._held))

    def _ask(self, table: pa.Table) -> None:
        if not self._questions:
            return
        frame = frame_of(table)
        for question in self._questions:
            question.add(table, frame)


def _judge_partition(
    spec: ModelSpec, partition: Partition, files: Sequence[SourceFile], empties: Sequence[pa.Table], judge: _Batches
) -> _Found:
    where = f"{spec.source.path} {partition}"
    types = common_schema(empties, list(spec.key), where)

    def keys_of(file: SourceFile) -> Iterator[pa.Table]:
        for batch in read_batches(file.path, None, types.names, judge.rows):
            yield publishable(in_types(batch, types, file.path), file_and_folder(file.path))

    keys = UniqueKeys()

    def look(file: SourceFile) -> int:
        rows = 0
        for batch in keys_of(file):
            rows += len(batch)
            keys.add(_with_key(batch))
        return rows

    rows = sum(in_threads(look, files))
    twice = keys.duplicates(lambda: (batch for file in files for batch in map(_with_key, keys_of(file))))
    for file in files if len(judge.schema) else ():
        for batch in read_batches(file.path, None, judge.schema.names, judge.rows):
            judge.add(in_types(batch, judge.schema, file.path))
    examples = tuple(bounded(" ".join(str(v) for v in values)) for values in twice.first)
    return _Found(partition, rows, twice.keys, twice.rows, examples)


def _with_key(keys: pa.Table) -> pa.Table:
    """The rows that have a key. The others are not meant: they will be rejected one by one."""
    for name in keys.column_names:
        keys = keys.filter(pc.invert(keys[name].is_null(nan_is_null=True)))
    return keys


def _always(spec: ModelSpec, found: Sequence[_Found]) -> list[Check]:
    empty_ones = [one.partition.key for one in found if not one.rows]
    twice = sum(one.keys_twice for one in found)
    return [
        Check(
            "rows are there",
            not empty_ones,
            sum(one.rows for one in found),
            "at least one row in each partition",
            examples=tuple(empty_ones[:EXAMPLES]),
        ),
        Check(
            "keys are unique",
            not twice,
            f"{twice} keys more than once",
            "each key once",
            column=", ".join(spec.key),
            rows=sum(one.rows_twice for one in found),
            values=tuple(example for one in found for example in one.examples)[:EXAMPLES],
        ),
    ]


def _table_checks(check: InputCheck, found: Sequence[_Found]) -> list[Check]:
    made = []
    for one in found:
        question = Question(check)
        question.count(one.rows)
        made.append(question.answer())
    return made


def _worst(checks: Sequence[Check], partitions: Sequence[Partition]) -> Check:
    """One check for many partitions: the first that did not pass speaks for all."""
    for check, partition in zip(checks, partitions, strict=True):
        if not check.passed:
            return replace(check, examples=(f"partition {partition}",))
    return checks[-1]
