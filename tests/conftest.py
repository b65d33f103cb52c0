"""A small model on synthetic data, for tests that need a whole loop and not the real flights."""

import logging
import os
import sys
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import settings
from tally import SEED, TALLY

from jobs.context import JobContext
from jobs.engines.warm import close as close_the_warm_engine
from jobs.plan import Plan
from jobs.settings import Settings

# a worker of pytest-xdist has none, and pyspark, which Great Expectations imports, then believes that doctests run
sys.modules["__main__"].__dict__.setdefault("__file__", __file__)
# before scikit-learn is loaded: on small data its threads only wait for each other, and on busy cores for very long
os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("no deadline", deadline=None)  # how long an example takes is for the benchmarks
settings.load_profile("no deadline")

SPEC = """\
model: toys
description: Will a toy come back?
owner: tests
task: classification
source: {path: sales, column: day, every: day}
key: [toy_id]
features:
  colour: category
  price: {kind: number, required: true, at_least: 0, at_most: 1000}
  wrapped: flag
label: {path: returns, columns: [returned], delay: 1d, known_at: known_at}
training: {window: 10d, holdout: 3d, seed: 7, minimum_rows: 50}
input_checks:
  - {expectation: expect_column_values_to_not_be_null, arguments: {column: colour, mostly: 0.5}}
  - {expectation: expect_table_row_count_to_be_between, arguments: {min_value: 1, max_value: 100000}}
output_checks: {score: {at_least: 0, at_most: 1}}
metric_gates: [{metric: auc, at_least: 0.55, not_worse_by: 0.2}]
engine: {name: local, workers: 2, rows_per_fragment: 1000}
output: {table: toys}
reject_budget: 0.05
"""
SHADOWED = SPEC + "shadow: true\n"
PIPELINE = """\
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder


def build() -> Pipeline:
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    prepare = make_column_transformer((encode, ["colour"]), remainder="passthrough")
    return make_pipeline(prepare, HistGradientBoostingClassifier(max_iter=8, min_samples_leaf=5))


def label(frame: pd.DataFrame) -> pd.Series:
    return frame["returned"]
"""
FIRST_DAY = date(2026, 1, 1)
DAYS = 24
ROWS = 120


def pytest_unconfigure(config: pytest.Config) -> None:
    """Servers of tests still log when the process ends, into streams that pytest has closed by then."""
    logging.raiseExceptions = False
    if config.option.markexpr == "chaos" and TALLY.runs:
        print(TALLY.sentence())  # noqa: T201 - the last line of `make chaos`


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files run beside each other (`make test`), but for those that share one Airflow."""
    from xdist.scheduler import LoadFileScheduling

    class BesideAirflow(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return "airflow" if nodeid.startswith("tests/airflow/") else str(super()._split_scope(nodeid))

    return BesideAirflow(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """No tally that is not clean ends well."""
    if session.exitstatus == 0 and not TALLY.well():
        session.exitstatus = 1
    if session.config.option.markexpr == "chaos" and session.exitstatus:
        print(f"\nRepeat it with: make chaos SEED={SEED}")  # noqa: T201 - beside what failed


class Shop:
    """The synthetic model's world: its folders, and jobs on its partitions."""

    def __init__(self, root: Path) -> None:
        self.root = root
        variables = {"LAMPLIGHTER_HOME": str(root / "home"), "LAMPLIGHTER_MODELS": str(root / "models")}
        self.settings = Settings.from_environment(variables | {"LAMPLIGHTER_ACTOR": "ada"})

    def job(self, partition: str, run: str = "test") -> JobContext:
        """A job on a partition, as one run."""
        return JobContext.create(self.settings, "toys", partition, run)

    def sales(self, partition: str) -> Path:
        """The folder of a partition's rows."""
        return self.settings.data / "sales" / f"day={partition}"

    def write_sales(self, partition: str, table: pa.Table | pd.DataFrame, name: str = "part-0.parquet") -> None:
        """Deliver rows for a partition."""
        table = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
        self.sales(partition).mkdir(parents=True, exist_ok=True)
        pq.write_table(table, self.sales(partition) / name, row_group_size=50, write_page_checksum=True)

    def write_model(self, spec: str = SPEC, pipeline: str = PIPELINE) -> None:
        """Write the model's folder."""
        folder = self.settings.models / "toys"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.yaml").write_text(spec)
        (folder / "pipeline.py").write_text(pipeline)

    def retrain(self, partition: str, run: str = "test") -> None:
        """The whole retrain."""
        from jobs.evaluate import evaluate
        from jobs.judge import judge
        from jobs.moves import promote
        from jobs.train import train

        job = self.job(partition, run)
        train(job)
        evaluate(job)
        judge(job)
        promote(job)

    def prepare(self, partition: str, run: str = "test", selector: str = "as-of") -> JobContext:
        """Plan, gate, score and gate a partition: all but publish."""
        from jobs.input_gate import input_gate
        from jobs.output_gate import output_gate
        from jobs.plan import plan
        from jobs.score import score

        job = self.job(partition, run)
        plan(job, selector)
        input_gate(job)
        score(job)
        output_gate(job)
        return job


def by_plan(job: JobContext) -> JobContext:
    """The job as those of its run that follow the plan see it: their results lie apart from those by another plan."""
    return job.under(job.recall("plan", Plan))


def rows_of(day: date, rows: int = ROWS) -> pd.DataFrame:
    """The rows of a day: seeded by the day, with nulls in every feature that may have them."""
    random = np.random.default_rng(day.toordinal())
    price = random.gamma(2, 40, rows).clip(0, 999).round(2)
    colour = random.choice(["red", "green", "blue", None], rows, p=[0.4, 0.3, 0.2, 0.1])
    wrapped = random.random(rows) < 0.3
    identity = [f"{day:%j}-{n}" for n in range(rows)]
    return pd.DataFrame({"toy_id": identity, "colour": colour, "price": price, "wrapped": wrapped})


def labels_of(day: date, sales: pd.DataFrame) -> pd.DataFrame:
    """The labels of a day, known on the evening after it."""
    random = np.random.default_rng(day.toordinal() + 10_000)
    odds = sales["price"] / 60 + (sales["colour"] == "red") * 2 - 3
    returned = (random.random(len(sales)) < 1 / (1 + np.exp(-odds))).astype(float)
    known_at = pd.Timestamp(day, tz="UTC") + pd.Timedelta(hours=42)
    return pd.DataFrame({"toy_id": sales["toy_id"], "returned": returned, "known_at": known_at})


@cache
def _empty_mlflow() -> bytes:
    """MLflow's database before anything is in it: to make one takes longer than most tests."""
    from tempfile import TemporaryDirectory

    from model_registry.mlflow_store import MlflowStore

    with TemporaryDirectory() as folder:
        MlflowStore(f"sqlite:///{folder}/mlflow.db").versions("toys")
        return Path(folder, "mlflow.db").read_bytes()


def write_shop(root: Path) -> Shop:
    """Lay out the world below `root`."""
    shop = Shop(root)
    shop.write_model()
    (shop.settings.home / "mlflow").mkdir(parents=True)
    (shop.settings.home / "mlflow" / "mlflow.db").write_bytes(_empty_mlflow())
    for offset in range(DAYS):
        day = FIRST_DAY + timedelta(days=offset)
        sales = rows_of(day)
        shop.write_sales(day.isoformat(), sales)
        labels = shop.settings.data / "returns" / f"day={day}"
        labels.mkdir(parents=True)
        labels_of(day, sales).to_parquet(labels / "part-0.parquet", index=False)
    return shop


@pytest.fixture(autouse=True)
def _nothing_of_another_test() -> Iterator[None]:
    """Training in this process has set where MLflow is, and scoring keeps its engine open for the next partition."""
    os.environ.pop("MLFLOW_TRACKING_URI", None)
    yield
    close_the_warm_engine()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A fresh world, nothing trained yet."""
    return write_shop(tmp_path)


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with a champion from 2026-01-15 on; to be copied, not to be used."""
    root = tmp_path_factory.mktemp("trained")
    write_shop(root).retrain("2026-01-14")
    return root


@pytest.fixture
def open_shop(trained_home: Path, tmp_path: Path) -> Shop:
    """A world of the test's own with a champion from 2026-01-15 on."""
    return copy_shop(trained_home, tmp_path / "world")


@pytest.fixture(scope="session")
def challenged_home(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A world with version 1 in production and version 2 in staging; to be copied, not to be used."""
    shop = copy_shop(trained_home, tmp_path_factory.mktemp("challenged") / "world")
    shop.write_model(SHADOWED + "promotion: {to: staging}\n")
    shop.retrain("2026-01-16")
    return shop.root


@pytest.fixture
def challenged(challenged_home: Path, tmp_path: Path) -> Shop:
    """A world of the test's own with a champion, and a challenger in the shadow."""
    return copy_shop(challenged_home, tmp_path / "world")


def copy_shop(source: Path, target: Path) -> Shop:
    """Copy a world; MLflow keeps absolute paths of artifacts, which are read and never written, so they may stay."""
    import shutil

    shutil.copytree(source, target)
    return Shop(target)
