"""A fault at every step of a run from a SQL table into one: it is run again, and no reader of the database sees it."""

import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import sqlalchemy as sa
from chaos.children import JOBS
from chaos.reader import Reader
from chaos.world import DAY, ROUNDS_A_TABLE, World
from conftest import Shop, copy_shop
from tally import SEED, SEEDS, TALLY

from jobs.faults import VARIABLE as FAULT
from jobs.inputs import find_input
from jobs.sql_source import EXTRACTS
from jobs.steps import SQL_STEPS
from jobs.storage import remove_tree
from jobs.table import predictions_path, publications

VARIABLE = "TOYS_DATABASE"
RANGES = 3  # of the source's keys, and as many files of predictions
MANY_TIMES = {"plan:range", "publish:staged"}
BESIDE = ("publish:prepared", "publish:committed", "publish:rejected", "publish:swept")  # the Delta table's own steps


class SqlWorld(World):
    """A world whose rows are in a table of a database, into which its predictions are published, too."""

    rows = RANGES * 1000

    def __init__(self, shop: Shop, folder: Path, address: str) -> None:
        self.engine = sa.create_engine(address, poolclass=sa.NullPool)
        self._address = address
        spec = (shop.settings.models / "toys" / "model.yaml").read_text()
        for old, new in (
            ("source: {path: sales", f"source: {{kind: sql, path: sales, database: {VARIABLE}"),
            ("output: {table: toys}", f"output: {{kind: sql, table: toys, database: {VARIABLE}}}"),
        ):
            assert old in spec
            spec = spec.replace(old, new)
        shop.write_model(spec=spec)
        super().__init__(shop, folder, TALLY)

    def deliver(self, variant: int) -> str:
        """Put a variant of the rows into the database, and leave no file of them to the plan."""
        types = {"wrapped": sa.Boolean()}
        with self.engine.begin() as connection:
            self._variant(variant).assign(day=DAY).to_sql(
                "sales", connection, index=False, if_exists="replace", dtype=types
            )
        digest = find_input(self.shop.settings, self.job.spec, self.job.partition).digest()
        remove_tree(self.shop.settings.tables / EXTRACTS)
        return digest

    def child(self, jobs: Any, run: str, **environment: str) -> Any:
        return super().child(jobs, run, **environment | {VARIABLE: self._address})

    def check(self, digest: str, before: int) -> None:
        super().check(digest, before)
        assert self.followed().equals(self.expected[digest].predictions)
        made = publications(predictions_path(self.shop.settings, self.job.spec))
        assert self.query("SELECT number FROM toys_publications ORDER BY number") == [
            (n + 1,) for n in range(len(made))
        ]
        assert self.query("SELECT * FROM toys_staging") == []

    def query(self, text: str) -> list[Any]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(text))]

    def followed(self) -> pa.Table:
        """The predictions in the database, like those of the Delta table."""
        schema = next(iter(self.expected.values())).predictions.schema
        there = sa.inspect(self.engine).has_table("toys")
        found = self.query(f"SELECT {', '.join(schema.names)} FROM toys") if there else []
        return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in sorted(found)], schema=schema)

    def renew_sometimes(self) -> None:
        super().renew_sometimes()
        if not self.rounds % ROUNDS_A_TABLE:
            self._empty()

    def _learn(self) -> None:
        super()._learn()
        self._empty()

    def _empty(self) -> None:
        """The database without what it was told, as a table of predictions that is new would be refused."""
        with self.engine.begin() as connection:
            for name in sa.inspect(connection).get_table_names():
                connection.execute(sa.text(f"DROP TABLE {name}"))


class DatabaseReader(Reader):
    """Reads the database all the while: the predictions of one publication, complete, or none."""

    def __init__(self, world: SqlWorld) -> None:
        super().__init__(world.job, world.expected, world.tally)
        self._world = world

    def _fault(self, version: int | None) -> str:
        rows = self._world.followed()
        known = any(rows.equals(content.predictions) for content in self._expected.values())
        return "" if known or not rows.num_rows else f"{rows.num_rows} rows in the database are of no publication"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def sql_world(
    request: pytest.FixtureRequest, trained_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SqlWorld]:
    root = tmp_path_factory.mktemp(request.param)
    sqlite = request.param == "sqlite"
    address = f"sqlite:///{root}/rows.db" if sqlite else request.getfixturevalue("postgresql")()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, address)
        world = SqlWorld(copy_shop(trained_home, root / "world"), root / "logs", address)
        yield world
        world.read_all_versions()


FEW = [("publish:staged", "kill", 0), ("publish:replaced", "kill", 0), ("plan:range", "full", 0)]
ALL = [
    pytest.param(step, fault, SEED + seed, marks=pytest.mark.chaos)
    for step in (*SQL_STEPS, *BESIDE)
    for fault in ("kill", "fail", "full")
    for seed in range(SEEDS)
    if step in SQL_STEPS or fault == "kill"
]


@pytest.mark.parametrize(("step", "fault", "seed"), [*FEW, *ALL])
def test_a_fault_at_a_step_with_a_database_at_both_ends(sql_world: SqlWorld, step: str, fault: str, seed: int) -> None:
    times = random.Random(f"{step} {fault} {seed}").randint(1, RANGES) if step in MANY_TIMES else 1
    job = step.partition(":")[0]
    with sql_world.round(f"{step}*{times} {fault} seed {seed}") as run, DatabaseReader(sql_world):
        for each in JOBS:
            codes = sql_world.task(each, run, **({FAULT: f"{step}*{times}={fault}"} if each == job else {}))
            assert codes[0] in ({1, -signal.SIGKILL} if each == job else {0})
    sql_world.tally.faults += 1
    assert not sql_world.orphans()
    sql_world.renew_sometimes()
