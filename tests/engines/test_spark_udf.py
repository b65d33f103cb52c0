"""In Spark's own tables and SQL a row has the score that the night gave it, or none and the same reason."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from clusters import spark_cluster
from conftest import Shop, copy_shop
from deltalake import DeltaTable

from jobs.engines.spark import SparkEngine
from jobs.errors import LamplighterError
from jobs.fragment_file import FragmentFile
from jobs.publish import publish
from jobs.spark_udf import _quoted, register_udf, score_frame
from jobs.table import predictions_of, predictions_path, rejected_path

DAY = "2026-01-16"
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets of py4j, closed by their own threads


@pytest.fixture(scope="module", params=["local", "master"])
def spark(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A session on threads of this process, and one on a master with two workers of their own."""
    from pyspark.sql import SparkSession

    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("spark")
        master = stack.enter_context(spark_cluster(folder)) if request.param == "master" else None
        stack.enter_context(SparkEngine(2, master))
        session = SparkSession.builder.getOrCreate()
        stack.callback(session.stop)
        yield session


@pytest.fixture(scope="module")
def night(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A world with a day that the night has published: some rows scored, one rejected for each of two reasons."""
    shop = copy_shop(trained_home, tmp_path_factory.mktemp("night") / "world")
    frame = pd.read_parquet(shop.sales(DAY) / "part-0.parquet")
    frame.loc[3, "price"] = -1.0
    frame.loc[5, "price"] = None
    shop.write_sales(DAY, frame)
    publish(shop.prepare(DAY))
    return shop


@pytest.fixture
def sales(spark: Any, night: Shop) -> Any:
    frame = spark.read.parquet(str(night.sales(DAY)))
    frame.createOrReplaceTempView("sales")
    return frame


def of_the_night(shop: Shop) -> tuple[dict[str, float], dict[str, str]]:
    spec = shop.job(DAY).spec
    scored = DeltaTable(str(predictions_path(shop.settings, spec))).to_pandas()
    rejected = DeltaTable(str(rejected_path(shop.settings, spec))).to_pandas()
    return (
        dict(zip(scored["toy_id"], scored["score"], strict=True)),
        dict(zip(rejected["toy_id"], rejected["reason"], strict=True)),
    )


@pytest.mark.parametrize("arguments", ["struct(*)", "struct(wrapped, price, colour)", "colour, price, wrapped"])
def test_sql_gives_the_scores_and_the_reasons_of_the_night(spark: Any, night: Shop, sales: Any, arguments: str) -> None:
    version = register_udf(spark, "toys@production", settings=night.settings)
    assert version.number == 1
    found = spark.sql(
        f"SELECT toy_id, toys({arguments}) AS score, toys_reason({arguments}) AS reason FROM sales"
    ).collect()
    scores, reasons = of_the_night(night)
    assert len(found) == 120 == len(scores) + len(reasons)
    assert {row.toy_id: row.score for row in found if row.score is not None} == scores
    assert {row.toy_id: row.reason for row in found if row.reason is not None} == reasons
    assert sorted(reasons.values()) == ["price:below_minimum", "price:null"]


@pytest.mark.parametrize("which", ["toys@production", "toys@1", f"toys@{DAY}"])
def test_a_frame_gives_key_score_version_and_reason(night: Shop, sales: Any, which: str) -> None:
    again = score_frame(sales.unionAll(sales).repartition(3), which, night.settings)
    assert again.columns == ["toy_id", "score", "model_version", "reason"]
    found = again.collect()
    scores, reasons = of_the_night(night)
    assert len(found) == 240
    assert {row.toy_id: row.score for row in found if row.reason is None} == scores
    assert {row.toy_id: row.reason for row in found if row.score is None} == reasons
    assert {row.model_version for row in found} == {1}


def test_names_that_mean_something_to_spark_are_names(spark: Any) -> None:
    frame = spark.createDataFrame([(1, 2, 3)], ["a.b", "f`t", "c d"])
    assert frame.select(*map(_quoted, frame.columns)).collect() == frame.collect()


def test_a_row_without_a_key_is_rejected_in_a_frame(spark: Any, night: Shop, sales: Any) -> None:
    nobody = spark.sql("SELECT CAST(NULL AS STRING) AS toy_id, colour, price, wrapped FROM sales LIMIT 1")
    [row] = score_frame(nobody, "toys@production", night.settings).collect()
    assert (row.score, row.reason) == (None, "null_key")


def test_a_function_may_have_another_name_and_an_empty_table_is_no_trouble(spark: Any, night: Shop, sales: Any) -> None:
    register_udf(spark, "toys@1", "will_return", night.settings)
    assert spark.sql("SELECT will_return(struct(*)), will_return_reason(struct(*)) FROM sales LIMIT 0").collect() == []
    assert score_frame(sales.limit(0), "toys@1", night.settings).collect() == []


@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("toys", "'toys' names no version: write one like MODEL@production, MODEL@3 or MODEL@PARTITION."),
        ("@3", "'@3' names no version"),
        ("toys@7", "toys has no version 7"),
        ("toys@2026-01-10", "toys has no version in production at 2026-01-10 00:00 UTC"),
        ("toys@champion", "'champion' is no partition key"),
        ("trains@1", "There is no model 'trains'"),
    ],
)
def test_what_names_no_version_is_one_sentence(spark: Any, night: Shop, which: str, message: str) -> None:
    with pytest.raises(LamplighterError) as raised:
        register_udf(spark, which, settings=night.settings)
    assert message in str(raised.value)


def test_columns_that_are_missing_are_named(spark: Any, night: Shop, sales: Any) -> None:
    with pytest.raises(LamplighterError, match="toys needs colour, and the frame has no such column"):
        score_frame(sales.drop("colour"), "toys@1", night.settings)
    register_udf(spark, "toys@1", settings=night.settings)
    for arguments, message in (
        ("struct(price, wrapped)", "toys needs colour, and the struct has no such field."),
        ("colour, price", "toys takes one struct, or its 3 features in this order: colour, price, wrapped."),
        ("price, price, wrapped", "the column colour is double, and the spec wants text"),
    ):
        with pytest.raises(Exception, match=message):
            spark.sql(f"SELECT toys({arguments}) FROM sales").collect()


def test_spark_reads_the_files_that_we_write(spark: Any, tmp_path: Path) -> None:
    keys = np.random.default_rng(3).integers(-(2**62), 2**62, 3_000)
    first = datetime(2026, 1, 1, tzinfo=UTC)
    instants = pa.array([first + timedelta(microseconds=n) for n in range(3_000)])
    table = predictions_of(pa.table({"id": keys, "at": instants}), np.linspace(0, 1, 3_000), 7)
    with FragmentFile(str(tmp_path), "some.parquet") as file:
        file.write(table)
    rows = spark.read.parquet(str(tmp_path / "some.parquet")).collect()
    assert [(row["id"], row["score"], row["model_version"]) for row in rows] == list(
        zip(keys.tolist(), table["score"].to_pylist(), [7] * 3_000, strict=True)
    )
    assert [(row["at"].astimezone(UTC) - first).microseconds for row in rows] == list(range(3_000))
