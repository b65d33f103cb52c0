"""From any ledger that there ever was to the newest schema: once, whole or not at all, and never back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from registry.desk import move

from model_registry.errors import Misconfigured
from model_registry.ledger import Ledger
from model_registry.schema import HEAD
from model_registry.store import Stage
from model_registry.timeline import Kind

AT = datetime(2013, 2, 8, 0, 0, 0, 7, tzinfo=UTC)

# The first release's ledger, as its create_all made it
FIRST = sa.MetaData()
PROMOTIONS = sa.Table(
    "promotions",
    FIRST,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("stage", sa.String(20), nullable=False),
    sa.Column("effective_from", sa.BigInteger, nullable=False),
    sa.Column("recorded_at", sa.BigInteger, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.String(64), nullable=True),
    sa.Column("external", sa.Boolean, nullable=False),
    sa.Index("promotions_in_time", "model", "stage", "effective_from"),
)
ROWS = [(1, "production", False), (2, "staging", False), (2, "production", False), (1, "production", True)]


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path, model: str) -> str:
    """A database with nothing in it."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    make: Callable[[str], str] = request.getfixturevalue("postgresql")
    return make(f"fresh_{model}")


@pytest.fixture
def first_url(fresh_url: str) -> str:
    """A ledger of the first release, with rows."""
    engine = sa.create_engine(fresh_url)
    FIRST.create_all(engine)
    microseconds = 1_360_281_600_000_007
    with engine.begin() as connection:
        for version, stage, external in ROWS:
            row = {"model": "m", "version": version, "digest": "d" * 64, "stage": stage, "actor": "airflow"}
            times = {"effective_from": microseconds, "recorded_at": microseconds + 1}
            more = {"reason": "Sturm ❄", "evidence": None if external else "e" * 64, "external": external}
            connection.execute(PROMOTIONS.insert().values(**row, **times, **more))
    engine.dispose()
    return fresh_url


def _state(url: str) -> dict[str, Any]:
    """All tables with their columns and rows."""
    engine = sa.create_engine(url)
    found = sa.MetaData()
    found.reflect(engine)
    with engine.connect() as connection:
        state = {
            name: (sorted(table.columns.keys()), [tuple(row) for row in connection.execute(sa.select(table))])
            for name, table in found.tables.items()
        }
    engine.dispose()
    return state


def _revision(url: str) -> str:
    rows: list[tuple[str]] = _state(url)["alembic_version"][1]
    return rows[0][0]


def test_the_rows_of_the_first_release_are_carried_over(first_url: str) -> None:
    ledger = Ledger(first_url)
    with ledger.reading() as session:
        found = session.history("m")
    kinds = [Kind.promotion, Kind.challenge, Kind.promotion, Kind.external]
    assert [(p.version, p.stage.value, p.kind) for p in found] == [
        (version, stage, kind) for (version, stage, _), kind in zip(ROWS, kinds, strict=True)
    ]
    assert {(p.effective_from, p.recorded_at.microsecond, p.digest, p.actor, p.reason) for p in found} == {
        (AT, 8, "d" * 64, "airflow", "Sturm ❄")
    }
    assert [p.evidence for p in found] == ["e" * 64] * 3 + [None]
    assert {(p.until, p.replaces, p.approved_by, p.request) for p in found} == {(None, None, None, None)}
    with ledger.locked("m") as session:  # and it goes on from there
        session.append(move(3, model="m"))
        session.note_alias("m", Stage.production, 3, AT)
        assert [p.version for p in session.history("m")] == [1, 2, 2, 1, 3]
    ledger.close()
    assert _revision(first_url) == HEAD


def test_what_was_carried_over_is_closed_as_well(first_url: str) -> None:
    Ledger(first_url).close()
    engine = sa.create_engine(first_url)
    for statement in ("UPDATE promotions SET version = 9", "DELETE FROM promotions"):
        with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
            connection.execute(sa.text(statement))
    assert [index["name"] for index in sa.inspect(engine).get_indexes("promotions")] == ["promotions_in_time"]
    engine.dispose()


def test_an_open_ledger_is_opened_again_without_a_change(fresh_url: str) -> None:
    Ledger(fresh_url).close()
    before = _state(fresh_url)
    Ledger(fresh_url).close()
    assert _state(fresh_url) == before
    assert _revision(fresh_url) == HEAD


def test_a_database_of_a_newer_release_is_left_alone(fresh_url: str) -> None:
    Ledger(fresh_url).close()
    engine = sa.create_engine(fresh_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0003'"))
    engine.dispose()
    before = _state(fresh_url)
    with pytest.raises(Misconfigured, match=rf"schema 0003, and this release knows {HEAD}: update Lamplighter, or"):
        Ledger(fresh_url)
    assert _state(fresh_url) == before


@pytest.mark.parametrize("rows", [0, len(ROWS)])
def test_a_migration_that_is_cut_off_at_any_statement_leaves_what_was_there(
    request: pytest.FixtureRequest, fresh_url: str, rows: int
) -> None:
    url = request.getfixturevalue("first_url") if rows else fresh_url
    before, cut = _state(url), 0
    while _cut_off_at(url, cut + 1):
        cut += 1
        assert _state(url) == before
    assert cut > 20
    ledger = Ledger(url)
    with ledger.reading() as session:
        assert len(session.history("m")) == rows
    ledger.close()
    assert _revision(url) == HEAD


def _cut_off_at(url: str, number: int) -> bool:
    """Open the ledger while the power goes at that statement; whether it went at all."""
    seen = []

    def cut(*_: object) -> None:
        seen.append(1)
        if len(seen) == number:
            raise ConnectionResetError("the power went")

    sa.event.listen(sa.Engine, "before_cursor_execute", cut)
    try:
        Ledger(url).close()
    except ConnectionResetError:
        return True
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", cut)
    return False
