"""Specs and calendars at the edges: what YAML, the clock and the calendar allow, and a nightly loop must survive."""

from datetime import timedelta
from pathlib import Path

import pytest

from jobs.errors import InvalidSpec, Misconfigured
from jobs.partition import Calendar, Every
from jobs.spec_file import load_spec, parse_spec

GOOD = (Path(__file__).resolve().parents[2] / "models" / "flight_delays" / "model.yaml").read_text()


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("window: 56d", r'window: "56d\n"', r"model.yaml:33: training.window = '56d\\n': a duration is"),
        ("at_least: 50", "at_least: .nan", "model.yaml:19: features.distance.at_least = nan: input should be a finite"),
        ("at_least: 0.58", "at_least: -.inf", "metric_gates.0.at_least = -inf: input should be a finite number"),
        ("[flight_id]", "[flight_id, flight_id]", "key: flight_id, flight_id names a column twice"),
        ("2013-01-01", "2013-02-31", "model.yaml: this is not YAML: day is out of range for month"),
        (
            "table: flight_delays",
            "table: flights_rejected",
            "output: names that end with _rejected or _shadow belong to",
        ),
        ("data-team", "data\x00team", "model.yaml: this is not YAML: unacceptable character"),
        ("seed: 2013", "seed: 1" + "0" * 5000, "model.yaml: this is not YAML: Exceeds the limit"),
        ("tags: [flights", "tags: &t [*t", "model.yaml: this is nested too deeply, or refers to itself"),
        ("tags: [flights", "tags: [" + "[" * 3000 + "]" * 3000, "nested too deeply"),
    ],
)
def test_what_yaml_allows_and_a_spec_does_not_is_said(before: str, after: str, says: str) -> None:
    assert before in GOOD
    with pytest.raises(InvalidSpec, match=says) as caught:
        parse_spec(GOOD.replace(before, after, 1), "model.yaml")
    assert len(str(caught.value)) < 400


def test_a_spec_in_another_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "model.yaml").write_bytes(GOOD.replace("data-team", "données").encode("latin-1"))
    with pytest.raises(InvalidSpec, match=r"x/model.yaml: this is not UTF-8"):
        load_spec(tmp_path, "x")


@pytest.mark.parametrize(("every", "key"), [(Every.day, "9999-12-31"), (Every.hour, "9999-12-31T23")])
def test_a_key_at_the_end_of_time_is_no_key(every: Every, key: str) -> None:
    with pytest.raises(Misconfigured, match="is no partition key"):
        Calendar(every).parse(key)


@pytest.mark.parametrize("newest", ["2026-03-08", "2026-03-20", "2026-11-01", "2026-11-20"])
@pytest.mark.parametrize("days", [1, 7, 28])
def test_a_window_of_days_holds_that_many_partitions_over_a_clock_change(newest: str, days: int) -> None:
    calendar = Calendar(Every.day, "America/New_York")
    assert len(calendar.back_from(calendar.parse(newest), timedelta(days=days))) == days


@pytest.mark.parametrize("zone", ["America/Sao_Paulo", "Africa/Cairo", "Pacific/Apia", "Australia/Lord_Howe"])
def test_days_leave_no_gap_where_the_clock_changes_at_midnight_or_a_day_was_skipped(zone: str) -> None:
    calendar = Calendar(Every.day, zone)
    later = calendar.parse("2018-12-31")
    for _ in range(9 * 365):
        earlier = calendar.before(later)
        assert earlier.start < earlier.end == later.start
        assert calendar.parse(earlier.key) == earlier
        later = earlier


def test_a_day_that_an_island_skipped_is_no_partition() -> None:
    with pytest.raises(Misconfigured, match="There is no 2011-12-30 in Pacific/Apia"):
        Calendar(Every.day, "Pacific/Apia").parse("2011-12-30")
