"""What a user might take to score a partition: ours on each engine, and what the libraries' documentation recommends.

A design is opened once and then scores the partition as often as it is asked: it writes key, score and version.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import flights
from limit import limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pandas as pd
    import pyarrow as pa

CORES = len(os.sched_getaffinity(0))
BATCH = 100_000


def ours(
    home: Path, model: str, engine: str, cores: int = CORES, *, shadow: bool = False
) -> Callable[[], dict[str, float]]:
    """The product path: plan, gates, score, publish; another partition each time, as one is published once.

    A run gives the seconds of each job. With a `shadow` the version in staging scores every row, too, into a table of
    its own.
    """
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    from jobs.context import JobContext
    from jobs.input_gate import input_gate
    from jobs.output_gate import output_gate
    from jobs.plan import plan
    from jobs.publish import publish
    from jobs.score import score
    from jobs.settings import Settings

    settings = Settings.from_environment()

    def run() -> dict[str, float]:
        day = flights.another_day(home)
        seconds: dict[str, float] = {}

        def timed(name: str, work: Callable[..., Any], *arguments: object) -> Any:
            began = time.perf_counter()
            done = work(*arguments)
            seconds[name] = time.perf_counter() - began
            return done

        job = JobContext.create(settings, model, day, f"bench-{os.getpid()}-{day}")
        there = job.spec.engine.model_copy(update={"workers": cores})
        job = replace(job, spec=job.spec.model_copy(update={"engine": there, "shadow": shadow}))
        if (timed("plan", plan, job).shadow is not None) != shadow:
            raise AssertionError("the versions that score are not those that should")
        timed("input-gate", input_gate, job)
        timed("score", score, job, engine)
        timed("output-gate", output_gate, job)
        if timed("publish", publish, job).unchanged:
            raise AssertionError(f"{day} was published before: this run had nothing to do")
        return seconds

    return run


def _pyfunc(home: Path, model: str) -> str:
    return str(home / "pyfunc" / model)


def _files(home: Path) -> list[str]:
    return sorted(str(path) for path in flights.partition_folder(home, flights.SCORED).iterdir())


def _spark() -> Any:
    from pyspark.sql import SparkSession

    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ[variable] = sys.executable
    builder = SparkSession.builder.master(f"local[{CORES}]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    return builder.config("spark.sql.execution.arrow.maxRecordsPerBatch", str(BATCH)).getOrCreate()


def stock(home: Path, model: str, out: Path) -> Callable[[], None]:
    """`mlflow.pyfunc.spark_udf` over the table, in its fastest form: the model returns one probability."""
    import mlflow.pyfunc
    from pyspark.sql import functions

    spark = _spark()
    udf = mlflow.pyfunc.spark_udf(spark, _pyfunc(home, model), result_type="double", env_manager="local")

    def run() -> None:
        frame = spark.read.parquet(*_files(home))
        score = udf(functions.struct(*flights.FEATURES)).alias("score")
        scored = frame.select("flight_id", score, functions.lit(1).alias("model_version"))
        scored.write.mode("overwrite").parquet(str(out))

    return run


def map_in_pandas(home: Path, model: str, out: Path) -> Callable[[], None]:
    """Spark's `mapInPandas` with the pyfunc loaded once in each task."""
    spark, place = _spark(), _pyfunc(home, model)

    def score(frames: Iterator[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        import mlflow.pyfunc

        loaded = mlflow.pyfunc.load_model(place)
        for frame in frames:
            yield frame[["flight_id"]].assign(score=loaded.predict(frame[flights.FEATURES]), model_version=1)

    def run() -> None:
        frame = spark.read.parquet(*_files(home))
        scored = frame.mapInPandas(score, "flight_id long, score double, model_version long")
        scored.write.mode("overwrite").parquet(str(out))

    return run


def pandas_pyfunc(home: Path, model: str, out: Path) -> Callable[[], None]:
    """One process: read all, predict, write."""
    import mlflow.pyfunc
    import pandas as pd

    loaded = mlflow.pyfunc.load_model(_pyfunc(home, model))

    def run() -> None:
        frame = pd.read_parquet(_files(home))
        scored = frame[["flight_id"]].assign(score=loaded.predict(frame[flights.FEATURES]), model_version=1)
        out.mkdir(parents=True, exist_ok=True)
        scored.to_parquet(out / "scores.parquet", compression="zstd")

    return run


def dask_dataframe(home: Path, model: str, out: Path) -> Callable[[], None]:
    """`dask.dataframe.map_partitions` with the pyfunc, on as many worker processes as there are cores."""
    import dask.dataframe as dd
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=CORES, threads_per_worker=1, dashboard_address=None)
    client, place = Client(cluster), _pyfunc(home, model)

    def score(frame: pd.DataFrame) -> pd.DataFrame:
        import mlflow.pyfunc

        loaded = mlflow.pyfunc.load_model(place)
        rows = frame[flights.FEATURES].astype(dict.fromkeys(flights.CATEGORIES, object))
        return frame[["flight_id"]].assign(score=loaded.predict(rows), model_version=1)

    def run() -> None:
        frame = dd.read_parquet(_files(home), columns=["flight_id", *flights.FEATURES])
        meta = {"flight_id": "int64", "score": "float64", "model_version": "int64"}
        frame.map_partitions(score, meta=meta).to_parquet(str(out), overwrite=True, write_index=False)

    run.client = client  # type: ignore[attr-defined] # kept alive with it
    return run


class LoadedOnce:
    """A Ray actor's callable: the pyfunc is loaded once for all batches that it gets."""

    def __init__(self, place: str) -> None:
        import mlflow.pyfunc

        self._model = mlflow.pyfunc.load_model(place)

    def __call__(self, batch: pa.Table) -> pd.DataFrame:
        """Key, score and version of a batch; Ray's own pandas have types that scikit-learn refuses."""
        frame = batch.to_pandas()
        return frame[["flight_id"]].assign(score=self._model.predict(frame[flights.FEATURES]), model_version=1)


def ray_data(home: Path, model: str, out: Path) -> Callable[[], None]:
    """Ray Data's `map_batches` with a class, in up to as many actors as there are cores."""
    os.environ |= {"RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    import ray

    ray.init(num_cpus=CORES, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    place = _pyfunc(home, model)

    def run() -> None:
        rows = ray.data.read_parquet(_files(home), columns=["flight_id", *flights.FEATURES])
        scored = rows.map_batches(
            LoadedOnce, fn_constructor_args=[place], batch_format="pyarrow", batch_size=BATCH, compute=_actors()
        )
        shutil.rmtree(out, ignore_errors=True)  # it adds files
        scored.write_parquet(str(out))

    return run


def _actors() -> Any:
    from ray.data import ActorPoolStrategy

    return ActorPoolStrategy(min_size=1, max_size=CORES)  # each takes a core, and who reads needs one


def save_pyfunc(home: Path, model: str) -> None:
    """The model as MLflow's users save it: pickled, returning one probability."""
    import mlflow.pyfunc

    target = Path(_pyfunc(home, model))
    if target.exists():
        return
    pipeline = flights.fitted(model)

    class OneProbability(mlflow.pyfunc.PythonModel):
        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:  # noqa: ARG002
            return pipeline.predict_proba(model_input)[:, 1]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(target, python_model=OneProbability())


OTHERS = {
    "spark_udf": stock,
    "mapInPandas": map_in_pandas,
    "pandas": pandas_pyfunc,
    "dask.dataframe": dask_dataframe,
    "Ray Data": ray_data,
    "limit": limit,
}
OURS = {f"lamplighter {engine}": engine for engine in ("local", "dask", "spark")}
ONE_CORE = {"lamplighter local on one core": "local"}
SHADOWED = {"lamplighter local with a shadow": "local"}


def opened(home: Path, design: str, model: str) -> Callable[[], object]:
    """What scores the partition when it is called."""
    if design in OURS:
        return ours(home, model, OURS[design])
    if design in ONE_CORE:
        return ours(home, model, ONE_CORE[design], cores=1)
    if design in SHADOWED:
        return ours(home, model, SHADOWED[design], shadow=True)
    return OTHERS[design](home, model, home / "out" / f"{design}-{model}")
