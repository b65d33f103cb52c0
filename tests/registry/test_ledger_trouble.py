"""A ledger whose database is not there, goes away, is locked, or refuses a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from model_registry.errors import Unavailable
from model_registry.ledger import Ledger, _lock_number
from model_registry.store import Stage
from model_registry.timeline import Promotion

NIGHT = datetime(2013, 2, 8, tzinfo=UTC)


def _row(version: int, effective_from: datetime = NIGHT, **fields: Any) -> Promotion:
    row = Promotion(
        "flight_delays", version, "d" * 64, Stage.production, effective_from, NIGHT, "airflow", "a retrain", "e" * 64
    )
    return replace(row, **fields)


def test_a_database_that_does_not_answer_is_unavailable_and_its_password_hidden(closed_port: int) -> None:
    with pytest.raises(Unavailable, match="does not answer") as raised:
        Ledger(f"postgresql+psycopg://lamplighter:s3cret@127.0.0.1:{closed_port}/ledger")
    address = f"postgresql+psycopg://lamplighter:***@127.0.0.1:{closed_port}/ledger"
    assert str(raised.value).startswith(f"The ledger at {address} does not answer: conn")
    assert "s3cret" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_folder_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open database file"):
        Ledger(f"sqlite:///{tmp_path}/nowhere/ledger.db")


@pytest.mark.parametrize("reach", [lambda ledger: ledger.locked("m"), lambda ledger: ledger.reading()])
def test_a_database_that_goes_away_later_is_unavailable(
    postgresql: Callable[[str], str], model: str, reach: Callable[[Ledger], Any]
) -> None:
    name = f"gone_{model}"
    url = postgresql(name)
    ledger = Ledger(url)
    other = url.replace("postgresql+psycopg://", "postgresql://").replace(f"/{name}", "/postgres")
    with psycopg.connect(other, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    with pytest.raises(Unavailable, match="does not answer"), reach(ledger):
        pass
    ledger.close()


def test_a_lock_that_is_not_free_in_time_is_unavailable(
    ledger_url: str, ledger: Ledger, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_registry.ledger.PATIENCE_SECONDS", 1)
    other = Ledger(ledger_url)
    with ledger.locked(model):
        with pytest.raises(Unavailable, match=r"lock"), other.locked(model):
            pass
        with other.reading() as session:  # who only reads waits for nobody
            assert session.history(model) == []
    with other.locked(model) as session:
        assert session.history(model) == []
    other.close()


def test_a_row_that_the_database_refuses_is_an_error_of_ours(ledger: Ledger, model: str) -> None:
    with pytest.raises(sa.exc.IntegrityError), ledger.locked(model) as session:
        session.append(_row(1, model=model, actor=None))
    with ledger.reading() as session:
        assert session.history(model) == []


def test_who_reads_reads_in_one_transaction(ledger: Ledger, model: str) -> None:
    with ledger.reading() as session:
        session.history(model)
        there = session._connection.connection.dbapi_connection
        assert there.in_transaction if ledger._sqlite else there.info.transaction_status.name == "INTRANS"


def test_the_lock_is_waited_for_half_a_minute(ledger: Ledger, model: str) -> None:
    with ledger.locked(model) as session:
        if ledger._sqlite:
            assert session._connection.exec_driver_sql("PRAGMA busy_timeout").scalar_one() == 30_000
        else:
            assert session._connection.exec_driver_sql("SHOW lock_timeout").scalar_one() == "30s"


def test_the_lock_is_a_models_and_the_same_on_every_machine() -> None:
    assert _lock_number("flight_delays") == _lock_number("flight_delays") != _lock_number("flight_delay")
    assert _lock_number("flight_delays") == 3_120_088_292_802_724_966
    assert all(-(2**63) <= _lock_number(f"m{n}") < 2**63 for n in range(50))
