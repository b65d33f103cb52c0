"""What a SQL source makes of values that are not of their column's type, and of columns whose type is not read."""

import sqlite3
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest

from jobs.errors import Misconfigured, Rejected
from jobs.inputs import check_source, find_input
from jobs.partition import Every
from jobs.source import read
from jobs.spec import Feature, FeatureKind, InputCheck

DAY = "2026-01-16"
VARIABLE = "TOYS_DATABASE"


class Rows:
    """A table `sales` of a database, with a key, the partition's day and another column, and what becomes of it."""

    def __init__(self, feed: Any, execute: Callable[..., Any], mark: str) -> None:
        self.feed, self.execute, self.mark = feed, execute, mark
        self.spec = feed.shop.job(DAY).spec.model_copy(update={"features": {"found": Feature(kind=FeatureKind.number)}})

    def make(self, declared: str, *values: Any, key: str = "TEXT") -> None:
        self.execute("DROP TABLE IF EXISTS sales")
        self.execute(f"CREATE TABLE sales (toy_id {key}, day TEXT, colour TEXT, found {declared})")
        for number, value in enumerate(values):
            self.execute(f"INSERT INTO sales VALUES ('{number}', '{DAY}', 'red', {self.mark})", (value,))

    def read(self, *columns: str, partition: str = DAY, every: Every = Every.day, **source: Any) -> list[Any]:
        stored = self.spec.source.model_copy(update={"every": every, **source})
        spec = self.spec.model_copy(update={"source": stored})
        at = stored.calendar.parse(partition)
        check_source(self.feed.shop.settings, spec, at)
        files = find_input(self.feed.shop.settings, spec, at).files
        return [tuple(row.values()) for file in files for row in read(file.path, None, columns).to_pylist()]


@pytest.fixture
def in_sqlite(open_shop: Any, make_feed: Any) -> Rows:
    feed = make_feed("sql-sqlite", open_shop)
    return Rows(feed, sqlite3.connect(feed.where.removeprefix("sqlite:///"), isolation_level=None).execute, "?")


@pytest.fixture
def in_postgresql(open_shop: Any, make_feed: Any) -> Any:
    feed = make_feed("sql-postgresql", open_shop)
    with psycopg.connect(feed.where.replace("+psycopg", ""), autocommit=True) as connection:
        yield Rows(feed, connection.execute, "%s")


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("INTEGER", 1000.9),
        ("INTEGER", "Grace"),
        ("REAL", "Grace"),
        ("NUMERIC", "Grace"),
        ("NUMERIC(9, 2)", "Grace"),
        ("NUMERIC(9, 2)", 731.419),
        ("NUMERIC(9, 2)", 1e300),
        ("TEXT", b"Grace"),
        ("BLOB", "Grace"),
        ("BOOLEAN", "Grace"),
        ("BOOLEAN", 731),
        ("BOOLEAN", 0.5),
        ("DATE", "Grace"),
        ("DATE", f"{DAY} 10:00:00"),
        ("DATETIME", "Grace"),
        ("DATETIME", f"{DAY}T11:00:00Z"),
        ("DATETIME", f"{DAY} 11:00:00.1234567"),
        ("DATETIME", 1768521600),
    ],
)
def test_a_value_that_is_not_of_its_columns_type_is_refused_and_not_shown(
    in_sqlite: Rows, declared: str, value: Any
) -> None:
    in_sqlite.make(declared, None, value)
    with pytest.raises(
        Rejected, match=r"^sales 2026-01-16: the column found has a value that is no \w+.*: deliver it with"
    ) as caught:
        in_sqlite.read("found")
    assert "Grace" not in str(caught.value)
    assert "731" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_that_is_not_of_its_columns_type_is_refused(in_sqlite: Rows) -> None:
    in_sqlite.make("REAL", 1.5, key="INTEGER")
    in_sqlite.execute("UPDATE sales SET toy_id = 1000.9")
    with pytest.raises(Rejected, match="the column toy_id has a value that is no int64"):
        in_sqlite.read("toy_id")


@pytest.mark.parametrize("number", [123_456_789_012_345_678, 2**53 + 1, "0.1234567890123456789"])
def test_a_key_that_a_double_cannot_hold_is_refused(in_postgresql: Rows, number: Any) -> None:
    in_postgresql.make("double precision", None, None, key="numeric")
    in_postgresql.execute("UPDATE sales SET toy_id = 12.3 WHERE toy_id = 1")
    assert in_postgresql.read("toy_id") == [(0.0,), (12.3,)]
    in_postgresql.execute(
        "INSERT INTO sales SELECT key::numeric, day, colour, found FROM sales, (VALUES (NULL), ('NaN')) k (key)"
    )
    assert sum(not key >= 0 for (key,) in in_postgresql.read("toy_id") if key is not None) == 2  # rejected row by row
    in_postgresql.execute(f"UPDATE sales SET toy_id = {number} WHERE toy_id = 0")
    with pytest.raises(Rejected, match="the column toy_id of the key has a number with more digits than a double"):
        in_postgresql.read("toy_id")
    assert len(in_postgresql.read("toy_id", query="SELECT toy_id::text, day, colour, found FROM sales")) == 6


@pytest.mark.parametrize(
    ("declared", "values", "expected"),
    [
        ("INTEGER", [7, "8", 9.0], [7, 8, 9]),
        ("REAL", [1, 2.5, "3.5"], [1.0, 2.5, 3.5]),
        (
            "NUMERIC(9, 2)",
            [0.1 + 0.2, 3, "4.5", 9999999.99],
            [Decimal(t) for t in ("0.30", "3.00", "4.50", "9999999.99")],
        ),
        ("BOOLEAN", [1, 0, True], [True, False, True]),
        ("DATE", [DAY], [date(2026, 1, 16)]),
        (
            "DATETIME",
            [DAY, f"{DAY} 10:11", f"{DAY}T10:11:12", f"{DAY} 10:11:12.5"],
            [datetime(2026, 1, 16, *rest) for rest in ((), (10, 11), (10, 11, 12), (10, 11, 12, 500_000))],  # noqa: DTZ001
        ),
    ],
)
def test_sqlite_values_are_read_as_what_their_column_says(
    in_sqlite: Rows, declared: str, values: list[Any], expected: list[Any]
) -> None:
    in_sqlite.make(declared, *values)
    assert in_sqlite.read("found") == [(value,) for value in expected]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_an_instant_of_sqlite_is_in_its_partition_however_it_is_written(in_sqlite: Rows, zone: str) -> None:
    hours = {
        "2026-01-15T23": ["2026-01-15 23:00", "2026-01-15T23:59:59.999999", "2026-01-15 23:59:59.9"],
        "2026-01-16T00": ["2026-01-16", "2026-01-16 00:00", "2026-01-16 00:00:00", "2026-01-16T00:00:00.000000"],
        "2026-01-16T10": ["2026-01-16 10:00:00", "2026-01-16T10:00", "2026-01-16T10:59:59", "2026-01-16 10:59:59.123"],
        "2026-01-16T23": ["2026-01-16 23:00:00.000000", "2026-01-16T23:00:00", "2026-01-16 23:59:59.999999"],
        "2026-01-17T00": ["2026-01-17", "2026-01-17T00:00:00"],
    }
    texts = [text for some in hours.values() for text in some]
    in_sqlite.make("DATETIME", *texts)
    in_sqlite.execute("UPDATE sales SET toy_id = found")
    where = {"column": "found", "timezone": zone}
    for day in ("2026-01-15", DAY, "2026-01-17"):
        found = in_sqlite.read("toy_id", partition=day, **where)
        assert sorted(key for (key,) in found) == sorted(text for text in texts if text.startswith(day))
    if zone == "UTC":
        for hour, expected in hours.items():
            found = in_sqlite.read("toy_id", partition=hour, every=Every.hour, **where)
            assert sorted(key for (key,) in found) == sorted(expected)


def test_a_date_of_sqlite_that_is_an_instant_is_told(in_sqlite: Rows) -> None:
    in_sqlite.make("DATE", DAY, f"{DAY} 10:00:00")
    with pytest.raises(Rejected, match="the column found has a value that is no date32"):
        in_sqlite.read("toy_id", column="found")


def test_text_of_sqlite_that_is_not_utf8_is_told(in_sqlite: Rows) -> None:
    in_sqlite.make("TEXT", "red")
    in_sqlite.execute("UPDATE sales SET found = CAST(x'ff4772616365' AS TEXT)")
    says = f"^The database of {VARIABLE} holds text that is not UTF-8 in the column found: deliver it as UTF-8.$"
    with pytest.raises(Rejected, match=says):
        in_sqlite.read("found")


@pytest.mark.parametrize("where", ["in_sqlite", "in_postgresql"])
def test_a_name_with_a_dot_and_a_query_with_a_comment_are_read(request: pytest.FixtureRequest, where: str) -> None:
    rows = request.getfixturevalue(where)
    rows.make("TEXT", "red")
    assert rows.read("found", query="SELECT * FROM sales -- all of them") == [("red",)]
    rows.execute('ALTER TABLE sales RENAME TO "shop.sales"')
    assert rows.read("found", path="shop.sales") == [("red",)]
    with pytest.raises(Misconfigured, match=f"The database of {VARIABLE} "):
        rows.read("found", path="other.sales")


@pytest.mark.parametrize("declared", ["date", "timestamp", "timestamptz"])
@pytest.mark.parametrize("value", ["infinity", "-infinity", "4000-01-01 BC", "20000-01-01"])
def test_a_date_that_python_has_no_value_for_is_told_where_it_is_asked_for(
    in_postgresql: Rows, declared: str, value: str
) -> None:
    in_postgresql.make(declared, "2026-01-01", value)
    in_postgresql.execute("ALTER TABLE sales ADD COLUMN shipped date DEFAULT '2026-01-01'")
    asked = {name: Feature(kind=FeatureKind.number) for name in ("shipped", "found")}
    in_postgresql.spec = in_postgresql.spec.model_copy(update={"features": asked})
    says = "^sales 2026-01-16: the column found has a value before the year 1 or after 9999, or infinity: deliver it"
    for query in (None, "SELECT * FROM sales"):
        with pytest.raises(Rejected, match=says):
            in_postgresql.read("found", query=query)
    in_postgresql.spec = in_postgresql.spec.model_copy(update={"features": {"colour": asked["found"]}})
    assert in_postgresql.read("colour") == [("red",), ("red",)]


@pytest.mark.parametrize(("declared", "value"), [("money", "5"), ("time", "10:00"), ("interval", "1 day")])
def test_a_column_whose_type_is_not_read_is_told_where_it_is_asked_for(
    in_postgresql: Rows, declared: str, value: str
) -> None:
    in_postgresql.make(declared, value)
    says = "^sales has the column found in a type that is not read: cast it in a view or a query, or change the spec.$"
    for query in (None, "SELECT * FROM sales"):
        with pytest.raises(Misconfigured, match=says):
            in_postgresql.read("found", query=query)


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ("numeric(5, -2)", 1_234_567, Decimal(1_234_600)),
        ("numeric(2, 5)", Decimal("0.00012"), Decimal("0.00012")),
        ("numeric(37, -2)", 1_234_567, 1_234_600.0),
        ("numeric(9, 2)", Decimal("NaN"), None),
    ],
)
def test_a_decimal_of_another_scale_than_parquet_has_is_read(
    in_postgresql: Rows, declared: str, value: Any, expected: Any
) -> None:
    in_postgresql.make(declared, value)
    for query in (None, "SELECT * FROM sales"):
        assert in_postgresql.read("found", query=query) == [(expected,)]


def test_a_database_without_an_encoding_is_read_as_utf8(in_postgresql: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"{in_postgresql.execute('SELECT current_database()').fetchone()[0]}_ascii"
    in_postgresql.execute(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0")
    address = in_postgresql.feed.where.replace("/" + name.removesuffix("_ascii"), "/" + name)
    monkeypatch.setenv(VARIABLE, address)
    with psycopg.connect(address.replace("+psycopg", ""), autocommit=True, client_encoding="utf8") as connection:
        rows = Rows(in_postgresql.feed, connection.execute, "%s")
        rows.make("text", "Zürich")
        assert rows.read("found") == [("Zürich",)]
        connection.execute("SET client_encoding = 'SQL_ASCII'")
        connection.execute(b"UPDATE sales SET found = '\xffGrace'")
        with pytest.raises(
            Rejected, match=f"The database of {VARIABLE} holds text that is not UTF-8: deliver it"
        ) as caught:
            rows.read("found")
        assert "Grace" not in str(caught.value)


def test_columns_that_no_job_reads_are_left_where_they_are(sql: Any) -> None:
    sql.deliver("sales", DAY, sql.rows().assign(note="of no use", shelf="left", shop="Ulm"))
    labels = sql.rows()[["toy_id"]].assign(returned=1, known_at=datetime(2026, 1, 17, tzinfo=UTC), note="of no use")
    sql.deliver("returns", DAY, labels)
    job = sql.shop.job(DAY)
    check = InputCheck(expectation="expect_column_values_to_not_be_null", arguments={"column": "shelf"})
    gate = job.spec.metric_gates[0].model_copy(update={"by": "shop"})
    spec = job.spec.model_copy(update={"input_checks": (check,), "metric_gates": (gate,)})
    for stored, expected in (
        (spec.source, {"toy_id", "colour", "price", "wrapped", "day", "shelf", "shop"}),
        (spec.label, {"toy_id", "returned", "known_at", "day"}),
    ):
        [file] = find_input(sql.shop.settings, spec, job.partition, stored).files
        assert set(pq.read_schema(file.path).names) == expected


@pytest.mark.parametrize("odd", ["2026-1-16 10:00", "16.01.2026", 1768557600, b"\x00", "Grace", "10:30", "now"])
@pytest.mark.parametrize("declared", ["DATETIME", "DATE"])
def test_a_row_that_no_partition_would_have_is_told_of(in_sqlite: Rows, declared: str, odd: Any) -> None:
    in_sqlite.make("REAL", 1.0, 2.0)
    in_sqlite.execute(f"CREATE TABLE sold (toy_id TEXT, colour TEXT, found REAL, at {declared})")
    in_sqlite.execute(f"INSERT INTO sold VALUES ('0', 'red', 1.0, '{DAY}'), ('1', 'red', 2.0, NULL)")
    assert in_sqlite.read("found", path="sold", column="at") == [(1.0,)]
    in_sqlite.execute("INSERT INTO sold VALUES ('2', 'red', 3.0, ?)", (odd,))
    with pytest.raises(Rejected, match="sold: the column at has a value that is no instant as text") as caught:
        in_sqlite.read("found", path="sold", column="at")
    assert "Grace" not in str(caught.value)


@pytest.mark.parametrize("declared", ["BLOB", "NUMERIC", "REAL", "BOOLEAN", "TIME"])
def test_a_partition_column_of_another_type_is_refused(in_sqlite: Rows, declared: str) -> None:
    in_sqlite.execute(f"CREATE TABLE sold (toy_id TEXT, colour TEXT, found REAL, at {declared})")
    with pytest.raises(Misconfigured, match=r"source\.column at is of the type \w+: take a date, an instant"):
        in_sqlite.read("found", path="sold", column="at")


def test_a_partition_column_of_bytes_is_refused(in_postgresql: Rows) -> None:
    in_postgresql.execute("CREATE TABLE sold (toy_id TEXT, colour TEXT, found REAL, at BYTEA)")
    with pytest.raises(Misconfigured, match=r"source\.column at is of the type BYTEA: take a date, an instant"):
        in_postgresql.read("found", path="sold", column="at")
