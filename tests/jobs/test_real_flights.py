"""The real table: what its feed lays out, and the second model on it, without any code outside models/."""

from datetime import UTC, datetime

import pandas as pd
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs.context import JobContext
from jobs.evaluate import evaluate
from jobs.feed import lay_out_feed
from jobs.input_gate import input_gate
from jobs.judge import judge
from jobs.moves import promote
from jobs.output_gate import output_gate
from jobs.performance import performance
from jobs.plan import plan
from jobs.publish import publish
from jobs.score import score
from jobs.settings import Settings
from jobs.table import predictions_path, rejected_path
from jobs.train import train


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The flights of 2013, laid out once."""
    home = tmp_path_factory.mktemp("flights")
    settings = Settings.from_environment({"LAMPLIGHTER_HOME": str(home)})
    assert lay_out_feed(settings, "flight_delays") == 365
    return settings


@pytest.fixture(scope="module")
def trained(settings: Settings) -> Settings:
    """The second model, retrained for the end of June."""
    job = JobContext.create(settings, "arrival_minutes", "2013-06-30")
    train(job)
    evaluate(job)
    assert judge(job).action == "first"
    assert promote(job).outcome == "promoted"
    return settings


def flights(settings: Settings, day: str) -> pd.DataFrame:
    return pd.read_parquet(settings.data / "flights" / f"flight_date={day}")


def test_the_feed_is_laid_out_once(settings: Settings) -> None:
    before = {p: p.stat().st_mtime_ns for p in settings.data.rglob("*.parquet")}
    assert lay_out_feed(settings, "flight_delays") == 0
    assert {p: p.stat().st_mtime_ns for p in settings.data.rglob("*.parquet")} == before
    files = (settings.data / "flights").rglob("*.parquet")
    assert sum(pq.read_metadata(file).num_rows for file in files) == 336_776


def test_a_row_has_a_stable_key_and_no_outcome(settings: Settings) -> None:
    day = flights(settings, "2013-02-08")
    assert day["flight_id"].is_unique
    assert not {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time", "known_at"} & set(day.columns)
    assert day["plane_year"].isna().any()


def test_weather_is_what_was_known_when_the_day_began(settings: Settings) -> None:
    assert flights(settings, "2013-01-01")["weather_visib"].isna().all()  # observations begin on that day
    assert (flights(settings, "2013-06-01").groupby("origin")["weather_visib"].nunique() <= 1).all()


def test_labels_are_known_after_the_flight_and_cancelled_flights_have_none(settings: Settings) -> None:
    labels = pd.read_parquet(settings.data / "arrivals" / "flight_date=2013-02-08")
    assert (labels["known_at"] > pd.Timestamp("2013-02-08", tz="UTC")).all()
    assert labels["arr_delay"].isna().sum() > 300  # the storm
    assert len(labels) == len(flights(settings, "2013-02-08"))


def scored(settings: Settings, day: str) -> JobContext:
    job = JobContext.create(settings, "arrival_minutes", day)
    plan(job)
    input_gate(job)
    score(job)
    output_gate(job)
    publish(job)
    return job


def test_a_second_model_trains_and_scores_by_its_folder_alone(trained: Settings) -> None:
    job = scored(trained, "2013-07-01")
    frame = DeltaTable(predictions_path(trained, job.spec)).to_pandas()
    assert len(frame) == len(flights(trained, "2013-07-01"))
    assert frame["score"].between(-120, 600).all()
    known = performance(trained, job.spec, job.partition, datetime(2014, 1, 1, tzinfo=UTC))
    assert known.metrics["rmse"] < 100


def test_the_one_row_outside_its_range_is_rejected_with_a_reason(trained: Settings) -> None:
    job = scored(trained, "2013-07-27")
    rejected = DeltaTable(rejected_path(trained, job.spec)).to_pandas()
    assert rejected[["flight_id", "reason"]].to_numpy().tolist() == [
        ["US-1632-EWR-2013-07-27", "distance:below_minimum"]
    ]


def test_tail_numbers_and_destinations_never_seen_before_are_scored(trained: Settings) -> None:
    job = scored(trained, "2013-12-31")
    frame = DeltaTable(predictions_path(trained, job.spec)).to_pandas()
    assert (frame["partition"] == "2013-12-31").sum() == len(flights(trained, "2013-12-31"))
