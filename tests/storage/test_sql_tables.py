"""What a SQL sink takes: every type that a key can have, and the specs that name a database."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa

from jobs.database import transaction
from jobs.errors import InvalidSpec, Misconfigured
from jobs.spec_file import parse_spec
from jobs.sql_tables import ATTEMPT, NUMBER, SinkTables, add_rows, lock, sql_type

DAY = "2026-01-16"
VARIABLE = "SCORES_DATABASE"


KEYS = {
    "number": pa.array([2**62, -1], pa.int64()),
    "ratio": pa.array([0.1, -1e300], pa.float64()),
    "text": pa.array(["Zürich", ""], pa.string()),
    "flag": pa.array([True, False], pa.bool_()),
    "on": pa.array([date(2026, 1, 1), date(1999, 12, 31)], pa.date32()),
    "at": pa.array([datetime(2026, 1, 1, 1, 2, 3, 4), datetime(1999, 1, 1)], pa.timestamp("us")),  # noqa: DTZ001
    "utc": pa.array([datetime(2026, 1, 1, tzinfo=UTC), datetime(1999, 1, 1, tzinfo=UTC)], pa.timestamp("us", "UTC")),
    "bytes": pa.array([b"\x00\xff", b""], pa.binary()),
    "amount": pa.array([Decimal("1.50"), Decimal("-9.99")], pa.decimal128(12, 2)),
    'share "%s" % :x': pa.array(["a", "b"], pa.string()),
}


def test_every_type_of_key_comes_back_as_it_went_in(database: str) -> None:
    table = pa.table(KEYS).append_column("partition", pa.array([DAY, DAY]))
    tables = SinkTables.of("keys", table.schema, list(KEYS))
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    with engine.begin() as connection:
        tables.ensure(connection, VARIABLE)
        tables.ensure(connection, VARIABLE)
        add_rows(connection, tables.staging, table, {ATTEMPT: "a", NUMBER: 1})
        names = table.column_names
        connection.execute(
            sa.insert(tables.rows).from_select(names, sa.select(*[tables.staging.c[name] for name in names]))
        )
        found = connection.execute(sa.select(tables.rows).order_by(tables.rows.c.number.desc())).mappings().all()
    for name, values in KEYS.items():
        expected = values.to_pylist()
        if engine.dialect.name == "sqlite":  # neither zones nor exact numbers
            expected = [
                v.replace(tzinfo=None) if name == "utc" else str(v) if name == "amount" else v for v in expected
            ]
        assert [row[name] for row in found] == expected, name
    engine.dispose()


@pytest.mark.parametrize(
    ("clause", "says"),
    [
        ("{kind: sql, table: toys}", "database .* goes with kind: sql"),
        ("{table: toys, database: SCORES}", "database .* goes with kind: sql"),
        ("{kind: sql, table: toys, database: 'postgresql://me:secret@host/x'}", "output.database"),
        (f"{{kind: sql, table: {'t' * 41}, database: SCORES}}", "too long a name for a database: at most 40"),
    ],
)
def test_an_output_that_does_not_fit_together_is_no_spec(open_shop: Any, clause: str, says: str) -> None:
    text = (open_shop.settings.models / "toys" / "model.yaml").read_text()
    with pytest.raises(InvalidSpec, match=says):
        parse_spec(text.replace("{table: toys}", clause), "model.yaml")


@pytest.mark.parametrize("name", [ATTEMPT, NUMBER])
def test_a_key_that_is_called_like_a_column_of_the_staging_table_is_no_spec(open_shop: Any, name: str) -> None:
    text = (open_shop.settings.models / "toys" / "model.yaml").read_text().replace("key: [toy_id]", f"key: [{name}]")
    assert parse_spec(text, "model.yaml").key == (name,)
    with pytest.raises(InvalidSpec, match=f"a key column cannot be called {name}, as a column of the output is"):
        parse_spec(text.replace("{table: toys}", "{kind: sql, table: toys, database: SCORES}"), "model.yaml")


def test_a_value_that_the_database_cannot_hold_is_refused_and_not_shown(
    postgresql: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, postgresql())
    table = pa.table({"name": ["Grace\0Hopper"], "partition": [DAY]})
    tables = SinkTables.of("keys", table.schema, ["name"])
    with transaction(VARIABLE, write=True) as connection:
        tables.ensure(connection, VARIABLE)
    with (
        pytest.raises(Misconfigured, match=f"The database of {VARIABLE} refuses: ") as caught,
        transaction(VARIABLE, write=True) as connection,
    ):
        add_rows(connection, tables.staging, table, {ATTEMPT: "a", NUMBER: 1})
    assert "Grace" not in str(caught.value)


def test_a_database_whose_locks_nobody_has_tried_is_refused() -> None:
    with pytest.raises(Misconfigured, match="cannot be published in mysql: take PostgreSQL or SQLite"):
        lock(sa.create_mock_engine("mysql://", print), "toys")  # type: ignore[arg-type]


def test_a_type_that_no_key_has_is_refused() -> None:
    with pytest.raises(Misconfigured, match="A database has no column for list"):
        sql_type(pa.list_(pa.int64()))
