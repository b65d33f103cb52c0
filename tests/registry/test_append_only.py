"""What the database itself refuses: nobody changes the ledger, not even who speaks to it directly."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa
from registry.desk import NIGHT, move

from model_registry.ledger import Ledger
from model_registry.store import Stage
from model_registry.tables import ALIAS_MOVES, EVIDENCE, METADATA, PROMOTIONS

TABLES = [PROMOTIONS, ALIAS_MOVES, EVIDENCE]
every_table = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
Rows = list[tuple[object, ...]]


@pytest.fixture
def filled(ledger: Ledger, model: str) -> str:
    """A model with two rows in every table."""
    for version in (1, 2):
        with ledger.locked(model) as session:
            session.append(move(version, model=model))
            session.note_alias(model, Stage.production, version, NIGHT)
            session.keep_evidence(f"{model}-{version}", model, version, "judged", NIGHT)
    return model


def _rows(url: str, table: sa.Table, model: str) -> Rows:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(sa.select(table).where(table.c.model == model).order_by(table.c.id)).all()
    engine.dispose()
    return [tuple(row) for row in found]


def _refused(url: str, statement: str | sa.Executable) -> None:
    """The statement is refused, in these words."""
    engine = sa.create_engine(url)
    with pytest.raises(sa.exc.DBAPIError, match="the ledger is append-only"), engine.begin() as connection:
        connection.execute(sa.text(statement) if isinstance(statement, str) else statement)
    engine.dispose()


@every_table
@pytest.mark.parametrize("statement", ["UPDATE {} SET version = 9", "DELETE FROM {}", "UPDATE {} SET id = id + 100"])
def test_no_row_is_changed_or_deleted(ledger_url: str, filled: str, table: sa.Table, statement: str) -> None:
    before = _rows(ledger_url, table, filled)
    _refused(ledger_url, f"{statement.format(table.name)} WHERE model = '{filled}'")
    assert _rows(ledger_url, table, filled) == before
    assert len(before) == 2


@every_table
def test_no_table_is_emptied(ledger_url: str, filled: str, table: sa.Table) -> None:
    before = _rows(ledger_url, table, filled)
    statement = f"DELETE FROM {table.name}" if ledger_url.startswith("sqlite") else f"TRUNCATE {table.name}"
    _refused(ledger_url, statement)
    assert _rows(ledger_url, table, filled) == before


@every_table
def test_no_row_is_replaced_by_an_insertion(ledger_url: str, filled: str, table: sa.Table) -> None:
    before = _rows(ledger_url, table, filled)
    again = dict(zip(table.columns.keys(), before[-1], strict=True)) | {"version": 9}
    if ledger_url.startswith("sqlite"):
        _refused(ledger_url, table.insert().prefix_with("OR REPLACE").values(**again))
    else:
        from sqlalchemy.dialects.postgresql import insert

        changed = insert(table).values(**again).on_conflict_do_update(index_elements=["id"], set_={"version": 9})
        _refused(ledger_url, changed)
    assert _rows(ledger_url, table, filled) == before


def test_no_evidence_is_replaced_by_its_digest(ledger_url: str, filled: str) -> None:
    before = _rows(ledger_url, EVIDENCE, filled)
    engine = sa.create_engine(ledger_url)
    how = "OR REPLACE" if ledger_url.startswith("sqlite") else ""
    forged = {"digest": f"{filled}-1", "model": filled, "version": 1, "decision": "forged", "recorded_at": NIGHT}
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(EVIDENCE.insert().prefix_with(how).values(**forged))
    engine.dispose()
    assert _rows(ledger_url, EVIDENCE, filled) == before


@every_table
@pytest.mark.parametrize("low", [-5, -1, 0, "between"])
def test_no_row_is_put_before_another(
    ledger_url: str, ledger: Ledger, filled: str, table: sa.Table, low: int | str
) -> None:
    before = _rows(ledger_url, table, filled)
    columns = table.columns.keys()
    number = low
    if low == "between":  # a number that nobody has, below the newest
        ahead = dict(zip(columns, before[-1], strict=True))
        engine = sa.create_engine(ledger_url)
        with engine.begin() as connection:
            highest = connection.execute(sa.select(sa.func.max(table.c.id))).scalar_one()
            unique = {"digest": f"{filled}-ahead"} if "digest" in columns else {}
            connection.execute(table.insert().values(**ahead | {"id": highest + 1000, "version": 7} | unique))
        engine.dispose()
        before, number = _rows(ledger_url, table, filled), highest + 500
    unique = {"digest": f"{filled}-low"} if "digest" in columns else {}
    forged = dict(zip(columns, before[-1], strict=True)) | {"id": number, "version": 9} | unique
    _refused(ledger_url, table.insert().values(**forged))
    assert _rows(ledger_url, table, filled) == before


def test_the_tables_are_what_the_newest_migration_leaves(ledger_url: str, ledger: Ledger) -> None:
    engine = sa.create_engine(ledger_url)
    found = sa.inspect(engine)
    for table in METADATA.sorted_tables:
        there = {column["name"]: column["nullable"] for column in found.get_columns(table.name)}
        assert there == {column.name: bool(column.nullable) for column in table.columns}
    assert set(found.get_table_names()) == {*METADATA.tables, "alembic_version"}
    engine.dispose()


def test_rows_of_other_models_do_not_wait_for_each_other(postgresql: Callable[[str], str], model: str) -> None:
    """PostgreSQL gives numbers before it commits: a low one of another model may come late, and is no forgery."""
    url = postgresql(f"order_{model}")
    slow, fast = Ledger(url), Ledger(url)
    with slow.locked("slow") as session:
        session.append(move(1, model="slow"))
        with fast.locked("fast") as other:
            other.append(move(1, model="fast"))
        session.append(move(2, model="slow"))
    with fast.reading() as session:
        assert [[p.version for p in session.history(name)] for name in ("slow", "fast")] == [[1, 2], [1]]
    for ledger in (slow, fast):
        ledger.close()


def test_an_instant_is_kept_as_microseconds(ledger_url: str, ledger: Ledger, model: str) -> None:
    at = datetime(1970, 1, 2, 0, 0, 1, 5, tzinfo=UTC)
    with ledger.locked(model) as session:
        session.append(move(1, model=model, effective_from=at))
    engine = sa.create_engine(ledger_url)
    with engine.connect() as connection:
        query = sa.text("SELECT effective_from FROM promotions WHERE model = :model")
        assert connection.execute(query, {"model": model}).scalar_one() == 86_401_000_005
    engine.dispose()
