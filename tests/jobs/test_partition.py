"""Partitions: keys there and back, and no gap and no overlap in any zone."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.dataset import training_window
from jobs.errors import Misconfigured
from jobs.partition import Calendar, Every, Partition
from jobs.spec_file import load_spec

ZONES = ["UTC", "America/New_York", "Asia/Kathmandu"]


@pytest.mark.parametrize("zone", ZONES)
@given(
    day=st.dates(min_value=datetime(1990, 1, 1, tzinfo=UTC).date(), max_value=datetime(2060, 1, 1, tzinfo=UTC).date())
)
def test_a_key_gives_the_partition_that_gives_the_key(zone: str, day: object) -> None:
    calendar = Calendar(Every.day, zone)
    partition = calendar.parse(str(day))
    assert partition.key == str(day)
    assert calendar.ending_at_or_before(partition.end) == partition


@pytest.mark.parametrize(
    "key", ["2013-3-1", "2013-02-30", "2013-03-01\n", " 2013-03-01", "2013-03-01T00", "", "today", "x" * 500]
)
def test_what_is_no_key_is_refused_in_one_bounded_sentence(key: str) -> None:
    with pytest.raises(Misconfigured, match="is no partition key: write one like 2013-03-01") as caught:
        Calendar(Every.day).parse(key)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("zone", ZONES)
def test_the_days_of_a_year_leave_no_gap_and_no_overlap(zone: str) -> None:
    calendar = Calendar(Every.day, zone)
    last = calendar.parse("2026-12-31")
    days = calendar.back_from(last, last.end - calendar.parse("2026-01-01").start)
    assert len(days) == 365
    assert all(a.end == b.start for a, b in pairwise(days))


def test_a_day_of_the_clock_change_has_23_or_25_hours() -> None:
    calendar = Calendar(Every.day, "America/New_York")
    lengths = {key: calendar.parse(key) for key in ("2026-03-08", "2026-11-01", "2026-06-01")}
    hours = {key: (p.end - p.start) / timedelta(hours=1) for key, p in lengths.items()}
    assert hours == {"2026-03-08": 23, "2026-11-01": 25, "2026-06-01": 24}


@pytest.mark.parametrize("zone", ZONES)
def test_the_hours_of_a_year_leave_no_gap_and_no_overlap(zone: str) -> None:
    calendar = Calendar(Every.hour, zone)
    hours = calendar.back_from(calendar.parse("2026-12-31T23"), timedelta(days=365))
    assert all(a.end == b.start for a, b in pairwise(hours))
    assert hours[-1].end - hours[0].start == timedelta(days=365)
    assert len({p.key for p in hours}) == len(hours)


def test_an_hour_that_the_clock_change_leaves_out_is_no_partition() -> None:
    calendar = Calendar(Every.hour, "America/New_York")
    with pytest.raises(Misconfigured, match="There is no 2026-03-08T02 in America/New_York"):
        calendar.parse("2026-03-08T02")
    assert calendar.before(calendar.parse("2026-03-08T03")).key == "2026-03-08T01"
    twice = calendar.parse("2026-11-01T01")
    assert twice.end - twice.start == timedelta(hours=2)


def test_the_newest_partition_that_is_over() -> None:
    calendar = Calendar(Every.day)
    noon = datetime(2013, 3, 2, 12, tzinfo=UTC)
    assert calendar.ending_at_or_before(noon).key == "2013-03-01"
    assert calendar.ending_at_or_before(datetime(2013, 3, 2, tzinfo=UTC)).key == "2013-03-01"


def test_the_window_of_a_retrain_ends_with_the_newest_mature_partition() -> None:
    from pathlib import Path

    spec = load_spec(Path(__file__).resolve().parents[2] / "models", "flight_delays")
    window = training_window(spec, spec.source.calendar.parse("2013-02-28"))
    assert [str(window.training[0]), str(window.training[-1])] == ["2013-01-03", "2013-02-20"]
    assert [str(window.holdout[0]), str(window.holdout[-1])] == ["2013-02-21", "2013-02-27"]
    assert window.as_of == datetime(2013, 3, 1, tzinfo=UTC)
    assert isinstance(window.partitions[0], Partition)
