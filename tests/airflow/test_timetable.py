"""Schedules over a year with both clock changes: no gap, no overlap, no partition twice, whatever cron and zone."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pendulum
import pytest
from airflow.exceptions import InvalidPartitionKeyError
from airflow.timetables.base import DagRunInfo, TimeRestriction

from jobs.partition import Calendar, Every
from jobs.schedule import PartitionSchedule
from lamplighter_airflow.timetable import PartitionTimetable

ZONES = ["UTC", "America/New_York", "Australia/Lord_Howe"]
AT_MIDNIGHT = ["Africa/Cairo", "America/Havana", "America/Santiago"]
"""Their clocks are put forward at midnight, so that a day begins at one."""
CRONS = [
    "0 0 * * *",
    "30 2 * * *",
    "0 * * * *",
    "*/15 1-3 * * *",
    "15 6 * * 1",
    "0 3 1 * *",
    "45 23 * * 1-5",
    "0 4,16 * * *",
]
START, END = pendulum.datetime(2026, 1, 1), pendulum.datetime(2026, 12, 31)


def made(cron: str, zone: str, every: Every, *, ended: bool) -> PartitionTimetable:
    return PartitionTimetable(PartitionSchedule(cron, Calendar(every, zone), ended))


def scheduled(timetable: PartitionTimetable, earliest: datetime, latest: datetime) -> list[DagRunInfo]:
    """What the scheduler would run, one run after the other."""
    restriction = TimeRestriction(earliest, latest, catchup=True)
    found: list[DagRunInfo] = []
    while True:
        last = found[-1] if found else None
        info = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
        if info is None:
            return found
        found.append(info)


@pytest.fixture(autouse=True)
def after_that_year(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter_airflow.timetable.utcnow", lambda: pendulum.datetime(2027, 1, 2))


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", CRONS)
@pytest.mark.parametrize(("every", "ended"), [(Every.day, False), (Every.day, True), (Every.hour, True)])
def test_a_year_has_no_gap_no_overlap_and_no_partition_twice(cron: str, zone: str, ended: bool, every: Every) -> None:
    timetable = made(cron, zone, every, ended=ended)
    runs = scheduled(timetable, START, END)
    partitions = [timetable.schedule.calendar.parse(str(run.partition_key)) for run in runs]
    assert all(a.end == b.start for a, b in pairwise(partitions))
    assert len({p.key for p in partitions}) == len(partitions)
    assert partitions[0].key.startswith("2026-01-01")
    assert partitions[-1].key.startswith("2026-12-31")
    hours = (partitions[-1].end - partitions[0].start) / timedelta(hours=1)
    assert hours == 365 * 24
    assert all(a.run_after <= b.run_after for a, b in pairwise(runs))
    anchors = [p.end if ended else p.start for p in partitions]
    assert all(run.run_after >= anchor for run, anchor in zip(runs, anchors, strict=True))
    assert [run.partition_date for run in runs] == [p.start for p in partitions]
    ticks = [run.run_after for run in runs]
    if every is Every.day:  # what is found from the clock alone is the first that a tick runs
        for n in range(7, len(runs), 11):
            assert timetable.schedule.newest(ticks[n]).key == runs[ticks.index(ticks[n])].partition_key
        backfilled = list(timetable.iter_partition_dagrun_infos(earliest=START, latest=END))
        assert [r.partition_key for r in backfilled] == [r.partition_key for r in runs]
        assert [r.partition_date for r in backfilled] == [r.partition_date for r in runs]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("cron", CRONS)
def test_a_partition_is_run_at_the_first_tick_after_it_has_ended(cron: str, zone: str) -> None:
    from croniter import croniter

    timetable = made(cron, zone, Every.day, ended=True)
    for run in scheduled(timetable, START, END)[::7]:
        local = pendulum.instance(run.run_after).in_timezone(zone)
        end = timetable.schedule.calendar.parse(str(run.partition_key)).end
        assert croniter.match(cron, local.naive()) or local.naive().hour == 3  # 02:30 does not exist in spring
        naive = pendulum.instance(end).in_timezone(zone).naive()
        between = croniter(cron, naive - timedelta(seconds=1)).get_next(datetime)
        assert between.replace(tzinfo=None) <= local.naive()


def test_a_backfill_by_hours_over_the_clock_changes_has_the_hours_that_there_are() -> None:
    timetable = made("0 * * * *", "America/New_York", Every.hour, ended=False)

    def keys(day: int, month: int) -> list[str]:
        first = datetime(2026, month, day, 0, tzinfo=UTC)
        found = timetable.iter_partition_dagrun_infos(earliest=first, latest=first + timedelta(hours=4))
        return [str(info.partition_key)[-2:] for info in found]

    assert keys(8, 3) == ["00", "01", "03", "04"]
    assert keys(1, 11) == ["00", "01", "02", "03", "04"]


@pytest.mark.parametrize(
    ("every", "zone", "first", "last", "expected"),
    [
        (Every.hour, "Europe/Berlin", "2026-10-25T02", "2026-10-25T03", ["02", "03"]),
        (Every.hour, "Europe/Berlin", "2026-10-25T01", "2026-10-25T02", ["01", "02"]),
        (Every.hour, "America/New_York", "2026-11-01T01", "2026-11-01T01", ["01"]),
        (Every.hour, "Australia/Lord_Howe", "2026-04-05T01", "2026-04-05T02", ["01", "02"]),
        (Every.day, "America/Havana", "2026-11-01T00", "2026-11-02T00", ["01", "02"]),
        (Every.day, "Atlantic/Azores", "2026-10-25T00", "2026-10-25T00", ["25"]),
    ],
)
def test_a_backfill_may_begin_with_what_the_clock_shows_twice(
    every: Every, zone: str, first: str, last: str, expected: list[str]
) -> None:
    timetable = made("0 2 * * *", zone, every, ended=True)
    earliest, latest = (
        datetime.fromisoformat(f"{at}:00+00:00") for at in (first, last)
    )  # Airflow hands clocks over so
    found = timetable.iter_partition_dagrun_infos(earliest=earliest.replace(fold=1), latest=latest)
    assert [str(info.partition_key)[-2:] for info in found] == expected


def test_after_a_backfill_the_schedule_goes_on_behind_it_and_repeats_nothing() -> None:
    timetable = made("0 0 * * *", "UTC", Every.day, ended=True)
    (last,) = timetable.iter_partition_dagrun_infos(
        earliest=datetime(2026, 5, 5, tzinfo=UTC), latest=datetime(2026, 5, 5, tzinfo=UTC)
    )
    following = timetable.next_dagrun_info_v2(
        last_dagrun_info=last, restriction=TimeRestriction(START, None, catchup=True)
    )
    assert following is not None
    assert following.partition_key == "2026-05-06"
    assert following.run_after == pendulum.datetime(2026, 5, 7)


def test_without_catch_up_all_partitions_of_the_newest_tick_are_run_and_no_older_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lamplighter_airflow.timetable.utcnow", lambda: pendulum.datetime(2026, 3, 11, 9))
    timetable = made("0 6 * * 1", "UTC", Every.day, ended=True)  # Mondays; 2026-03-09 is one
    restriction = TimeRestriction(START, None, catchup=False)
    found: list[DagRunInfo] = []
    while not found or found[-1].run_after < pendulum.datetime(2026, 3, 16, 6):
        last = found[-1] if found else None
        info = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=restriction)
        assert info is not None
        found.append(info)
    assert [str(i.partition_key) for i in found] == [f"2026-03-0{d}" for d in range(2, 9)] + ["2026-03-09"]
    assert {i.run_after for i in found[:7]} == {pendulum.datetime(2026, 3, 9, 6)}


@pytest.mark.parametrize("zone", AT_MIDNIGHT)
@pytest.mark.parametrize("ended", [True, False])
def test_a_day_without_a_midnight_is_run_when_it_begins_or_ends(zone: str, ended: bool) -> None:
    timetable = made("0 0 * * *", zone, Every.day, ended=ended)
    runs = scheduled(timetable, START, END)
    assert len(runs) == 365
    for run in runs:
        partition = timetable.schedule.calendar.parse(str(run.partition_key))
        assert run.run_after == (partition.end if ended else partition.start)
        assert timetable.schedule.newest(run.run_after) == partition


@pytest.mark.parametrize(("behind", "expected"), [(3, "2026-03-05"), (6, "2026-03-05"), (9, "2026-03-07")])
def test_without_catch_up_nothing_of_the_last_week_is_left_out(
    monkeypatch: pytest.MonkeyPatch, behind: int, expected: str
) -> None:
    """As Airflow asks while its limit of runs is reached, or when it was down; it asks anew each time."""
    now = pendulum.datetime(2026, 3, 5 + behind, 9)
    monkeypatch.setattr("lamplighter_airflow.timetable.utcnow", lambda: now)
    timetable = made("0 6 * * *", "UTC", Every.day, ended=True)
    (last,) = timetable.iter_partition_dagrun_infos(
        earliest=datetime(2026, 3, 4, tzinfo=UTC), latest=datetime(2026, 3, 4, tzinfo=UTC)
    )
    found = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=TimeRestriction(START, None, False))
    assert found is not None
    assert found.partition_key == expected


def test_without_catch_up_a_monthly_tick_of_long_ago_is_run_after_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lamplighter_airflow.timetable.utcnow", lambda: pendulum.datetime(2026, 3, 20, 9))
    timetable = made("0 6 1 * *", "UTC", Every.day, ended=True)
    (last,) = timetable.iter_partition_dagrun_infos(
        earliest=datetime(2026, 1, 4, tzinfo=UTC), latest=datetime(2026, 1, 4, tzinfo=UTC)
    )
    found = timetable.next_dagrun_info_v2(last_dagrun_info=last, restriction=TimeRestriction(START, None, False))
    assert found is not None
    assert (found.partition_key, found.run_after) == ("2026-02-01", pendulum.datetime(2026, 3, 1, 6))


@pytest.mark.parametrize(("ended", "expected"), [(True, "2026-03-10"), (False, "2026-03-11")])
@pytest.mark.parametrize("cron", ["0 */2 * * *", "0 6 * * *", "0 2,6 * * *"])
def test_a_new_dag_begins_with_the_newest_partition_however_often_its_cron_ticks(
    monkeypatch: pytest.MonkeyPatch, cron: str, ended: bool, expected: str
) -> None:
    monkeypatch.setattr("lamplighter_airflow.timetable.utcnow", lambda: pendulum.datetime(2026, 3, 11, 9))
    timetable = made(cron, "UTC", Every.day, ended=ended)
    found = timetable.next_dagrun_info_v2(last_dagrun_info=None, restriction=TimeRestriction(START, None, False))
    assert found is not None
    assert found.partition_key == expected


def test_the_schedule_goes_on_when_the_spec_has_another_calendar_now() -> None:
    daily = made("0 6 * * *", "UTC", Every.day, ended=True)
    (last,) = daily.iter_partition_dagrun_infos(
        earliest=datetime(2026, 12, 30, tzinfo=UTC), latest=datetime(2026, 12, 30, tzinfo=UTC)
    )
    hourly = made("5 * * * *", "UTC", Every.hour, ended=True)
    found = hourly.next_dagrun_info_v2(last_dagrun_info=last, restriction=TimeRestriction(START, None, True))
    assert found is not None
    assert found.partition_key == "2026-12-30T01"


@pytest.mark.parametrize(("ended", "last"), [(True, "2026-05-05"), (False, "2026-05-06")])
def test_a_backfill_leaves_what_is_to_come_to_the_schedule(
    monkeypatch: pytest.MonkeyPatch, ended: bool, last: str
) -> None:
    monkeypatch.setattr("lamplighter_airflow.timetable.utcnow", lambda: pendulum.datetime(2026, 5, 6, 9))
    timetable = made("0 0 * * *", "UTC", Every.day, ended=ended)
    found = list(timetable.iter_partition_dagrun_infos(earliest=pendulum.datetime(2026, 5, 3), latest=END))
    assert found[-1].partition_key == last


def test_a_timetable_is_read_back_as_it_was_written() -> None:
    timetable = made("30 2 * * *", "Asia/Kathmandu", Every.hour, ended=True)
    again = PartitionTimetable.deserialize(timetable.serialize())
    assert again.schedule == timetable.schedule
    assert again.summary == "30 2 * * *"


def test_a_key_gives_the_instant_at_which_its_partition_begins() -> None:
    timetable = made("30 2 * * *", "Asia/Kathmandu", Every.day, ended=True)
    assert timetable.resolve_partition_date("2026-03-01") == datetime(2026, 2, 28, 18, 15, tzinfo=UTC)
    with pytest.raises(InvalidPartitionKeyError, match="no partition key"):
        timetable.resolve_partition_date("1 March")
