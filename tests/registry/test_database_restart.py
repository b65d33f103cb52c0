"""An immediate restart of the database in the middle of promotions: it is a sentence, and the next command mends."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tally
from postgres import Database
from registry.conftest import Room
from registry.moving import Place, keep_moving, kill, registered, start
from registry.test_promotion_kills import Scene

from model_registry.mlflow_store import MlflowStore


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
