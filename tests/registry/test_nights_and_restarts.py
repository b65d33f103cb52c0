"""Nights go on while the database of their registry is restarted again and again: late, and otherwise as ever."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import tally
from conftest import Shop, rows_of, write_shop
from deltalake import DeltaTable
from postgres import Database
from registry.nights import AGAIN, ended

from jobs.settings import Settings
from jobs.table import predictions_path, publications

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST = date(2026, 1, 16)
RESTARTS = 3
TRIES, MOST = 50, 20


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.server.cleanup()


@pytest.fixture
def night_shop(tmp_path: Path, database: Database) -> Shop:
    """The world of the tests, its registry and its ledger on PostgreSQL, with a champion from 2026-01-15 on."""
    shop = write_shop(tmp_path)
    variables = {"LAMPLIGHTER_HOME": str(tmp_path / "home"), "LAMPLIGHTER_MODELS": str(tmp_path / "models")}
    variables |= {"LAMPLIGHTER_LEDGER_URL": database.url("ledger"), "MLFLOW_TRACKING_URI": database.url("mlflow")}
    shop.settings = Settings.from_environment(variables | {"LAMPLIGHTER_ACTOR": "ada"})
    assert ended("retrain", tmp_path, shop.settings, "2026-01-14") == 0
    return shop


@contextmanager
def restarting(database: Database, chance: random.Random) -> Iterator[None]:
    """Immediate restarts at any time; all are over when this is left."""

    def restart() -> None:
        for _ in range(RESTARTS):
            time.sleep(chance.uniform(0, 0.5))
            database.restart()
            tally.TALLY.faults += 1

    thread = threading.Thread(target=restart)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def had_to_wait(shop: Shop, day: str) -> bool:
    """Tried as Airflow does: again when something was unavailable, and at no other error."""
    for tries in range(TRIES):
        code = ended("score", shop.root, shop.settings, day)
        if code == 0:
            return tries > 0
        assert code == AGAIN
    raise AssertionError(f"{day} was not published in {TRIES} tries")


def days(count: int) -> Sequence[str]:
    return [str(FIRST + timedelta(days=n)) for n in range(count)]


@pytest.mark.parametrize("nights", [3, pytest.param(6 * tally.SEEDS, marks=pytest.mark.chaos)])
def test_every_night_is_published_once_however_often_the_database_restarts(
    night_shop: Shop, database: Database, nights: int
) -> None:
    chance, waited, done = random.Random(tally.SEED), 0, 0
    while done < nights or (not waited and done < MOST):  # by chance no restart meets the moment of a plan
        day, done = days(done + 1)[-1], done + 1
        night_shop.write_sales(day, rows_of(date.fromisoformat(day)))
        with tally.TALLY.run(), restarting(database, chance):
            waited += had_to_wait(night_shop, day)
    assert waited
    path = predictions_path(night_shop.settings, night_shop.job(days(1)[0]).spec)
    assert [p.partition for p in publications(path)] == days(done)
    table = DeltaTable(str(path)).to_pandas()
    for day in days(done):
        mine = table[table["partition"] == day]
        assert sorted(mine["toy_id"]) == sorted(rows_of(date.fromisoformat(day))["toy_id"])
        assert set(mine["model_version"]) == {1}
