"""One contract for every engine: in this process, and on clusters of real separate processes."""

import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from clusters import dask_cluster, free_port, spark_cluster
from deltalake import DeltaTable

from jobs.engines.choose import LARGE, PROCESSES, choose_engine
from jobs.engines.dask import DaskEngine
from jobs.engines.engine import Engine
from jobs.engines.local import LocalEngine
from jobs.engines.spark import SparkEngine, find_java
from jobs.errors import Misconfigured, Rejected, Unavailable
from jobs.output_gate import output_gate
from jobs.publish import publish
from jobs.score import score
from jobs.settings import Settings
from jobs.table import predictions_path

ENGINES = ["local", "dask", "dask-threads", "dask-cluster", "spark", "spark-cluster"]
pytestmark = pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # sockets of Dask and py4j, closed by their own threads


@pytest.fixture(scope="module")
def dask_scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dask_cluster(tmp_path_factory.mktemp("dask")) as address:
        yield address


@pytest.fixture(scope="module")
def spark_master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_cluster(tmp_path_factory.mktemp("spark")) as address:
        yield address


def make_engine(name: str, request: pytest.FixtureRequest) -> Engine:
    if name == "local":
        return LocalEngine(2)
    if name.startswith("dask"):
        address = request.getfixturevalue("dask_scheduler") if name == "dask-cluster" else None
        return DaskEngine(2, address, threads=name == "dask-threads")
    return SparkEngine(2, request.getfixturevalue("spark_master") if name == "spark-cluster" else None)


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with make_engine(request.param, request) as running:
        yield running


def square(number: int) -> int:
    return number * number


def refuse(number: int) -> int:
    if number == 3:
        raise Rejected(f"number {number} is not wanted")
    return number


def divide(number: int) -> float:
    return 1 / number


def leave_a_mark(task: tuple[str, int]) -> int:
    time.sleep(0.05)
    (Path(task[0]) / str(task[1])).touch()
    return task[1]


# pickled by value: the workers of a cluster do not know this file
for function in (square, refuse, divide, leave_a_mark):
    function.__module__ = "__main__"


def test_every_task_gives_one_result(engine: Engine) -> None:
    assert sorted(engine.map(square, list(range(7)))) == [0, 1, 4, 9, 16, 25, 36]


def test_results_come_while_others_are_at_work(engine: Engine, tmp_path: Path) -> None:
    results = engine.map(leave_a_mark, [(str(tmp_path), number) for number in range(64)])
    found = [next(results)]
    assert len(list(tmp_path.iterdir())) < 64
    assert sorted([*found, *results]) == list(range(64))


def test_no_tasks_give_no_results(engine: Engine) -> None:
    assert list(engine.map(square, [])) == []


def test_our_errors_arrive_as_themselves(engine: Engine) -> None:
    with pytest.raises(Rejected, match="number 3 is not wanted"):
        list(engine.map(refuse, list(range(5))))


def test_other_errors_arrive_too(engine: Engine) -> None:
    with pytest.raises(Exception, match="division by zero"):
        list(engine.map(divide, [1, 0]))


def test_an_engine_works_on_after_an_error(engine: Engine) -> None:
    with pytest.raises(Rejected):
        list(engine.map(refuse, [3]))
    assert list(engine.map(square, [2])) == [4]


@pytest.fixture(scope="module")
def scores_of_local(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return scored_by("local", trained_home, tmp_path_factory.mktemp("local") / "world", Settings.from_environment({}))


@pytest.mark.parametrize("name", ["dask", "dask-processes", "dask-cluster", "spark", "spark-cluster"])
def test_the_published_scores_are_those_of_the_local_engine_to_the_last_bit(
    name: str, scores_of_local: pd.DataFrame, trained_home: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    kind, _, cluster = name.partition("-")
    variables = {}
    if cluster == "processes":
        variables = {"LAMPLIGHTER_DASK_SCHEDULER": PROCESSES}
    elif cluster:
        fixture, variable = {"dask": ("dask_scheduler", "DASK_SCHEDULER"), "spark": ("spark_master", "SPARK_MASTER")}[
            kind
        ]
        variables = {f"LAMPLIGHTER_{variable}": request.getfixturevalue(fixture)}
    found = scored_by(kind, trained_home, tmp_path / "world", Settings.from_environment(variables))
    pd.testing.assert_frame_equal(found, scores_of_local, check_exact=True)


def scored_by(engine: str, source: Path, target: Path, clusters: Settings) -> pd.DataFrame:
    """The predictions of one partition of the synthetic model, in many fragments, scored on an engine."""
    import shutil
    from dataclasses import replace

    from jobs.context import JobContext
    from jobs.input_gate import input_gate
    from jobs.plan import plan

    shutil.copytree(source, target)
    settings = Settings.from_environment(
        {"LAMPLIGHTER_HOME": str(target / "home"), "LAMPLIGHTER_MODELS": str(target / "models")}
    )
    settings = replace(settings, dask_scheduler=clusters.dask_scheduler, spark_master=clusters.spark_master)
    folder = settings.data / "sales" / "day=2026-01-16"
    rows = pd.read_parquet(folder)
    for part in range(1, 4):
        rows.assign(toy_id=rows["toy_id"] + f"-{part}").to_parquet(folder / f"part-{part}.parquet", index=False)
    job = JobContext.create(settings, "toys", "2026-01-16", engine)
    assert len(plan(job).fragments) == 4
    input_gate(job)
    assert score(job, engine).engine == engine
    output_gate(job)
    publish(job)
    frame = DeltaTable(predictions_path(settings, job.spec)).to_pandas()
    return frame.sort_values("toy_id", ignore_index=True)


def choose(name: str, rows: int, *, compiled: bool = False, **variables: str) -> Engine:
    return choose_engine(name, rows, 2, Settings.from_environment(variables), compiled=compiled)


def test_auto_takes_no_cluster_for_small_partitions() -> None:
    assert choose("auto", LARGE - 1, LAMPLIGHTER_DASK_SCHEDULER="tcp://127.0.0.1:1").name == "local"


def test_auto_takes_what_is_configured_for_large_ones() -> None:
    assert choose("auto", LARGE).name == "dask"
    assert choose("auto", LARGE, LAMPLIGHTER_SPARK_MASTER="spark://127.0.0.1:1").name == "spark"
    both = {"LAMPLIGHTER_SPARK_MASTER": "spark://127.0.0.1:1", "LAMPLIGHTER_DASK_SCHEDULER": "tcp://127.0.0.1:1"}
    assert choose("auto", LARGE, **both).name == "dask"
    assert choose("auto", LARGE, **both | {"LAMPLIGHTER_DASK_SCHEDULER": PROCESSES}).name == "spark"


def test_dask_takes_threads_only_for_what_lets_go_of_pythons_lock() -> None:
    assert choose("dask", 1).where == DaskEngine(2).where
    assert choose("dask", 1, compiled=True).where == DaskEngine(2, threads=True).where
    processes = {"LAMPLIGHTER_DASK_SCHEDULER": PROCESSES}
    assert choose("dask", 1, compiled=True, **processes).where == DaskEngine(2).where


def test_an_engine_that_there_is_not() -> None:
    with pytest.raises(Misconfigured, match="There is no engine 'ray': choose auto, local, dask or spark"):
        choose("ray", 1)


def test_spark_without_java_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert find_java() is None
    with pytest.raises(Misconfigured, match="needs Java 17 or 21"), SparkEngine(1):
        pass


def test_a_scheduler_that_does_not_answer_is_unavailable() -> None:
    with (
        pytest.raises(Unavailable, match="No Dask scheduler answers at"),
        DaskEngine(1, f"tcp://127.0.0.1:{free_port()}"),
    ):
        pass


def test_a_master_that_does_not_answer_is_unavailable() -> None:
    with (
        pytest.raises(Unavailable, match="No Spark master answers at"),
        SparkEngine(1, f"spark://127.0.0.1:{free_port()}"),
    ):
        pass
