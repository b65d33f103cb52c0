"""The database of registry, source and output goes away at every step of a run, and comes back."""

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from chaos.children import JOBS, PATIENCE, Child
from chaos.world import ENGINES, World, on
from conftest import write_shop
from postgres import Database
from registry.nights import ended
from storage.test_sql_faults import MANY_TIMES, RANGES, VARIABLE, DatabaseReader, SqlWorld
from tally import CLUSTER_SEEDS, SEED, SEEDS

from jobs.faults import VARIABLE as FAULT
from jobs.settings import Settings
from jobs.steps import SCORE_STEPS, SQL_STEPS

UNAVAILABLE = 1


class AllInOne(SqlWorld):
    """A world whose registry, ledger, rows and predictions are all in one PostgreSQL."""

    def __init__(self, shop: Any, folder: Path, database: Database) -> None:
        self.database = database
        super().__init__(shop, folder, database.url("rows"))

    def child(self, jobs: Any, run: str, **environment: str) -> Any:
        """See `World.child`."""
        return super().child(jobs, run, **environment | {"MLFLOW_TRACKING_URI": self.database.url("mlflow")})

    def undisturbed(self, variant: int) -> None:
        """Score in a process of its own, with which its connections end."""
        self.finish(f"undisturbed {variant}")


class PatientReader(DatabaseReader):
    """Reads when there is a database."""

    def _fault(self, version: int | None) -> str:
        try:
            return super()._fault(version)
        except sa.exc.OperationalError:
            return ""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own: to take its database away would disturb others."""
    root = tmp_path_factory.mktemp("gone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        database = Database("mlflow", "ledger", "rows")
        patch.setenv(VARIABLE, database.url("rows"))
        shop = write_shop(root / "world")
        variables = {"HOME": str(shop.settings.home), "MODELS": str(shop.settings.models), "ACTOR": "ada"}
        variables |= {"LEDGER_URL": database.url("ledger")}
        named = {f"LAMPLIGHTER_{name}": value for name, value in variables.items()}
        shop.settings = Settings.from_environment(named | {"MLFLOW_TRACKING_URI": database.url("mlflow")})
        assert ended("retrain", shop.root, shop.settings, "2026-01-14") == 0
        made = AllInOne(shop, root / "logs", database)
        yield made
        made.read_all_versions()
    database.server.cleanup()


def code_of(child: Child) -> int | None:
    """The exit code; workers that are processes come to the step one after the other, and each of them pauses."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        child.resume()
        if (code := child.wait(0.2)) is not None:
            return code
    return None


FEW = [("local", "plan:resolved", 0), ("local", "publish:staged", 1), ("local", "publish:replaced", 2)]
ALL = [
    pytest.param(engine, step, SEED + seed, marks=pytest.mark.chaos)
    for engine in ENGINES
    for step in (*SCORE_STEPS, *SQL_STEPS)
    for seed in range(SEEDS if engine == "local" else CLUSTER_SEEDS)
    if engine == "local" or step.startswith("score:")  # the other jobs know nothing of engines
]


@pytest.mark.parametrize(("engine", "step", "seed"), [*FEW, *ALL])
def test_the_database_is_gone_at_a_step_and_comes_back(world: AllInOne, engine: str, step: str, seed: int) -> None:
    chance, job = random.Random(f"{step} gone {seed}"), step.partition(":")[0]
    times = chance.randint(1, RANGES) if step in MANY_TIMES else 1
    with world.round(f"{engine} {step}*{times} gone seed {seed}") as run, PatientReader(world):
        world.finish(run, JOBS[: JOBS.index(job)])
        child = world.child([job], run, **on(engine) | {FAULT: f"{step}*{times}=stop"})
        try:
            assert child.paused_or_over(), "it was not paused"
            if chance.random() < 0.5:
                child.resume()  # and meets it as it goes, or away
            world.database.restart()
            assert code_of(child) in {0, UNAVAILABLE}, child.log.read_text()[-2000:]
        finally:
            child.kill()
        world.finish(run, JOBS[JOBS.index(job) :])
    world.tally.faults += 1
    assert not world.orphans()
    world.renew_sometimes()
