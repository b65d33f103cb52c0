"""SQL tables and queries as sources, in SQLite and PostgreSQL: types, ranges of keys, snapshots, kills, faults."""

import os
import signal
import tracemalloc
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pandas as pd
import pyarrow as pa
import pytest
import sqlalchemy as sa
from attempts import die_in

from jobs.backfill import State, plan_backfill
from jobs.errors import Misconfigured, Unavailable
from jobs.input_gate import input_gate
from jobs.inputs import find_input
from jobs.output_gate import output_gate
from jobs.plan import plan
from jobs.publish import publish
from jobs.registry import open_registry
from jobs.score import score
from jobs.source import read
from jobs.spec import Feature, FeatureKind
from jobs.sql_source import EXTRACTS, USED
from jobs.together import together
from jobs.vacuum import vacuum
from model_registry.steps import listen

DAY = "2026-01-16"
VARIABLE = "TOYS_DATABASE"


def test_a_sql_partition_is_cut_into_ranges_of_keys(sql: Any) -> None:
    frame = many(sql)
    sql.deliver("sales", DAY, frame.sample(frac=1, random_state=7))
    job = sql.shop.job(DAY)
    planned = plan(job)
    assert [fragment.rows for fragment in planned.fragments] == [1000, 1000, 1000, 500]
    found = [read(f.file, None, ["toy_id"])["toy_id"].to_pylist() for f in planned.fragments]
    assert [name for names in found for name in names] == sorted(frame["toy_id"])
    sql.deliver("sales", DAY, frame)
    assert plan(sql.shop.job(DAY, "again")).input_digest == planned.input_digest


def many(sql: Any) -> pd.DataFrame:
    frame = pd.concat([sql.rows()] * 30, ignore_index=True).head(3500)
    frame["toy_id"] = [f"toy-{n:05d}" for n in range(len(frame))]
    return frame


def test_a_sql_partition_is_read_on_one_snapshot(sql: Any) -> None:
    sql.deliver("sales", DAY, many(sql))
    if sql.where.startswith("sqlite"):
        with sa.create_engine(sql.where).connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")  # without it a writer waits for the reader
    reached = 0

    def meanwhile(name: str) -> None:
        nonlocal reached
        if name == "plan:range":
            reached += 1
            sql.deliver("sales", DAY, many(sql).head(100 * reached).assign(price=0.0))

    listen(meanwhile)
    try:
        planned = plan(sql.shop.job(DAY))
    finally:
        listen(None)
    found = together([read(f.file, None, ["toy_id", "price"]) for f in planned.fragments], "all").to_pandas()
    assert reached == 4
    assert list(found["toy_id"]) == list(many(sql)["toy_id"])
    assert list(found["price"]) == list(many(sql)["price"])
    assert plan(sql.shop.job(DAY, "next")).rows == 400


def test_a_plan_that_is_killed_between_two_ranges_is_made_again(sql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sql.deliver("sales", DAY, many(sql))
    monkeypatch.setenv("LAMPLIGHTER_HOME", str(sql.shop.settings.home))
    monkeypatch.setenv("LAMPLIGHTER_MODELS", str(sql.shop.settings.models))
    assert die_in("plan", DAY, "plan:range*2=kill") == -signal.SIGKILL
    job = sql.shop.prepare(DAY)
    assert publish(job).publication.rows_in == 3500


def test_a_large_partition_is_never_in_memory_at_once(sql: Any) -> None:
    rows = 60_000
    frame = pd.concat([sql.rows()] * (rows // 120), ignore_index=True)
    frame["toy_id"] = [f"toy-{n:05d}" for n in range(rows)]
    frame["note"] = "a long remark of a hundred and more characters, " * 3
    sql.deliver("sales", DAY, frame)
    del frame
    tracemalloc.start()
    try:
        assert plan(sql.shop.job(DAY)).rows == rows
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6_000_000, "sixty thousand rows are 20 MB of Python's objects, a range is a sixtieth of them"


def test_rows_without_a_key_come_along_and_are_rejected(sql: Any) -> None:
    frame = sql.rows()
    frame.loc[[3, 5], "toy_id"] = None
    sql.deliver("sales", DAY, frame)
    result = publish(sql.shop.prepare(DAY)).publication
    assert (result.rows_scored, result.reasons) == (118, {"null_key": 2})


def test_extracts_of_a_partition_are_kept_once_and_old_ones_go(sql: Any) -> None:
    sql.deliver("sales", DAY, sql.rows())
    plan(sql.shop.job(DAY))
    plan(sql.shop.job(DAY))
    [first] = (sql.shop.settings.tables / EXTRACTS).rglob("*.parquet")
    half = first.with_name(f".{first.name}.0123.tmp")  # of somebody who was killed
    half.write_bytes(b"PAR1")
    for path in (first, half, first.parent, first.parents[1] / USED):
        os.utime(path, (0, 0))
    sql.deliver("sales", DAY, sql.rows().head(10))
    plan(sql.shop.job(DAY))
    [second] = (sql.shop.settings.tables / EXTRACTS).rglob("*.parquet")
    assert first != second
    assert not first.parents[1].exists()
    vacuum(sql.shop.settings, sql.shop.job(DAY).spec)
    assert second.is_file()
    vacuum(sql.shop.settings, sql.shop.job(DAY).spec, timedelta(seconds=-60))
    assert not second.is_file()


def test_an_extract_that_is_broken_is_written_anew(sql: Any) -> None:
    sql.deliver("sales", DAY, sql.rows())
    plan(sql.shop.job(DAY))
    [file] = (sql.shop.settings.tables / EXTRACTS).rglob("*.parquet")
    for broken in (b"", bytes(file.stat().st_size)):
        file.write_bytes(broken)
        assert publish(sql.shop.prepare(DAY, f"{len(broken)}")).publication.rows_in == 120


def test_a_second_look_at_a_partition_leaves_a_run_at_work(sql: Any) -> None:
    sql.deliver("sales", DAY, sql.rows())
    job = sql.shop.job(DAY)
    plan(job)
    input_gate(job)
    find_input(sql.shop.settings, job.spec, job.partition)
    plan(sql.shop.job(DAY, "another"))
    score(job)
    output_gate(job)
    assert publish(job).publication.rows_in == 120


EVERYTHING = {
    "key": (sa.Integer(), [1, 2, None], pa.int64()),
    "big": (sa.BigInteger(), [2**62, -1, None], pa.int64()),
    "small": (sa.SmallInteger(), [1, 2, None], pa.int64()),
    "ratio": (sa.Double(), [0.1, float("-1e300"), None], pa.float64()),
    "amount": (sa.Numeric(12, 2), [Decimal("1.50"), Decimal("-9.99"), None], pa.decimal128(12, 2)),
    "text": (sa.Text(), ["Zürich", "", None], pa.string()),
    "name": (sa.String(9), ["a", "b", None], pa.string()),
    "uuid": (sa.Uuid(), [UUID(int=1), UUID(int=2), None], pa.string()),
    "kind": (sa.Enum("x", "y", name="kinds"), ["x", "y", None], pa.string()),
    "flag": (sa.Boolean(), [True, False, None], pa.bool_()),
    "on": (sa.Date(), [date(2026, 1, 1), date(1999, 12, 31), None], pa.date32()),
    "at": (sa.DateTime(), [datetime(2026, 1, 1, 1, 2, 3, 4), datetime(1999, 1, 1), None], pa.timestamp("us")),  # noqa: DTZ001
    "bytes": (sa.LargeBinary(), [b"\x00\xff", b"", None], pa.binary()),
    "day": (sa.Text(), [DAY, DAY, DAY], pa.string()),
}


@pytest.mark.parametrize("query", [False, True])
def test_types_are_those_that_parquet_would_have(sql: Any, query: bool) -> None:
    engine = sa.create_engine(sql.where)
    metadata = sa.MetaData()
    columns = [sa.Column(name, kind) for name, (kind, _, _) in EVERYTHING.items()]
    table = sa.Table("sales", metadata, *columns, sa.Column("left_out", sa.JSON()))
    metadata.create_all(engine)
    with engine.begin() as connection:
        values = [values for _, values, _ in EVERYTHING.values()]
        connection.execute(
            sa.insert(table), [dict(zip(EVERYTHING, row, strict=True)) for row in zip(*values, strict=True)]
        )
    engine.dispose()
    job = sql.shop.job(DAY)
    update = {"query": "SELECT * FROM sales WHERE 'a:b' <> text"} if query else {}
    stored = job.spec.source.model_copy(update=update)
    features = {name: Feature(kind=FeatureKind.category) for name in EVERYTHING}
    spec = job.spec.model_copy(update={"key": ("key",), "source": stored, "features": features})
    files = find_input(sql.shop.settings, spec, job.partition).files
    found = together([read(f.path, None, list(EVERYTHING)) for f in files], "all")
    if query and "sqlite" in sql.where:
        assert found["key"].to_pylist() == [1, 2]
        assert {"int64", "double", "string"} == {str(found[n].type) for n in ("big", "ratio", "text")}
        return
    rows = 2 if query else 3
    assert found.num_rows == rows
    by_key = {key: n for n, key in enumerate(found["key"].to_pylist())}
    for name, (_, values, kind) in EVERYTHING.items():
        as_text = UUID.__str__ if "postgresql" in sql.where else lambda v: v.hex  # SQLite keeps 32 characters
        expected = [as_text(v) if isinstance(v, UUID) else v for v in values]
        assert found[name].type == (pa.string() if name == "kind" else kind) or (query and name == "kind"), name
        got = [found[name][by_key[key]].as_py() for key in (1, 2, None)[:rows]]
        assert got == expected[:rows], name


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (sa.Text(), [DAY, "2026-01-17"]),
        (sa.Date(), [date(2026, 1, 16), date(2026, 1, 17)]),
        (sa.Integer(), [20260116, 20260117]),
        (sa.DateTime(timezone=True), [datetime(2026, 1, 16, 23, 59, tzinfo=UTC), datetime(2026, 1, 17, tzinfo=UTC)]),
        (sa.DateTime(), [datetime(2026, 1, 16), datetime(2026, 1, 17)]),  # noqa: DTZ001
    ],
)
def test_the_column_of_the_partition_may_be_text_a_date_a_number_or_an_instant(
    sql: Any, kind: Any, values: list[Any]
) -> None:
    engine = sa.create_engine(sql.where)
    metadata = sa.MetaData()
    table = sa.Table("sales", metadata, sa.Column("toy_id", sa.Text()), sa.Column("day", kind))
    metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(table), [{"toy_id": str(n), "day": value} for n, value in enumerate(values)])
    engine.dispose()
    job = sql.shop.job(DAY)
    [file] = find_input(sql.shop.settings, job.spec, job.partition).files
    assert read(file.path, None, ["toy_id"])["toy_id"].to_pylist() == ["0"]


def test_what_is_wrong_with_a_database_is_said_without_its_password(sql: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Misconfigured, match=f"The database of {VARIABLE} has no table sales"):
        plan(sql.shop.job(DAY))
    for address, kind, says in (
        ("", Misconfigured, f"takes a database from the variable {VARIABLE}"),
        ("no address:secret", Misconfigured, "is no address of a database"),
        ("nothing://me:secret@127.0.0.1/x", Misconfigured, "is no address of a database"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/x", Unavailable, "does not do it now"),
    ):
        monkeypatch.setenv(VARIABLE, address)
        with pytest.raises(kind, match=says) as caught:
            plan(sql.shop.job(DAY))
        assert "secret" not in str(caught.value)


def test_scores_of_a_sql_source_go_through_both_gates(sql: Any) -> None:
    sql.deliver("sales", DAY, sql.rows())
    job = sql.shop.prepare(DAY)
    assert output_gate(job).report.passed


def test_rows_that_are_the_same_have_one_digest_whatever_else_is_asked_for(sql: Any) -> None:
    frame = many(sql).assign(shelf=range(3500))
    sql.deliver("sales", DAY, frame)
    publish(sql.shop.prepare(DAY))
    spec = sql.shop.settings.models / "toys" / "model.yaml"
    check = "  - {expectation: expect_column_values_to_not_be_null, arguments: {column: shelf}}\n"
    spec.write_text(
        spec.read_text()
        .replace("input_checks:\n", f"input_checks:\n{check}")
        .replace("rows_per_fragment: 1000}", "rows_per_fragment: 2000}")
    )
    [found] = plan_backfill(sql.shop.settings, open_registry(sql.shop.settings), "toys", DAY, DAY).partitions
    assert (found.state, found.rows) == (State.stale_code, 3500)
    sql.deliver("sales", DAY, frame.head(3400))
    [found] = plan_backfill(sql.shop.settings, open_registry(sql.shop.settings), "toys", DAY, DAY).partitions
    assert found.state is State.stale_input
