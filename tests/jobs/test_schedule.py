"""Ticks over a calendar: whatever cron, zone and instant, and what a spec may say about them."""

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.errors import InvalidSpec
from jobs.partition import Calendar, Every
from jobs.schedule import PartitionSchedule

ZONES = ["UTC", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe"]
CRONS = [
    "0 0 * * *",
    "30 2 * * *",
    "*/20 * * * *",
    "15 6 * * 1",
    "0 3 1 * *",
    "45 23 * * 1-5",
    "0 4,16 * * *",
    "5 1 29 2 *",
]
INSTANTS = st.datetimes(datetime(2025, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
SCHEDULES = st.builds(
    PartitionSchedule,
    st.sampled_from(CRONS),
    st.builds(Calendar, st.sampled_from(list(Every)), st.sampled_from(ZONES)),
    st.booleans(),
)


@settings(deadline=None)
@given(schedule=SCHEDULES, instant=INSTANTS)
def test_neighbours_meet_and_are_run_in_order(schedule: PartitionSchedule, instant: datetime) -> None:
    calendar = schedule.calendar
    here = calendar.starting_at_or_after(instant)
    before, after = calendar.before(here), calendar.after(here)
    assert before.start < instant <= here.start
    assert (before.end, here.end) == (here.start, after.start)
    assert calendar.before(after) == here
    assert calendar.between(before, after) == (before, here, after)
    assert schedule.tick(before) <= schedule.tick(here) <= schedule.tick(after)
    assert schedule.tick(here) >= (here.end if schedule.ended else here.start)


@settings(deadline=None)
@given(schedule=SCHEDULES, now=INSTANTS)
def test_the_newest_are_those_of_the_last_tick(schedule: PartitionSchedule, now: datetime) -> None:
    calendar, first = schedule.calendar, schedule.newest(now)
    tick = schedule.tick(first)
    assert schedule.tick(calendar.before(first)) < tick
    following = calendar.starting_at_or_after(tick + timedelta(seconds=1))
    if schedule.ended:
        following = calendar.before(following)  # the first that had not ended at the tick
    assert schedule.tick(following) > max(tick, now)


@settings(deadline=None)
@given(schedule=SCHEDULES, instant=INSTANTS, clock=st.times())
def test_a_deadline_comes_after_the_tick_and_within_a_day(
    schedule: PartitionSchedule, instant: datetime, clock: time
) -> None:
    partition = schedule.calendar.starting_at_or_after(instant)
    tick, found = schedule.tick(partition), schedule.deadline(partition, clock)
    assert tick <= found <= tick + timedelta(hours=25)


@pytest.mark.parametrize(
    ("schedules", "says"),
    [
        ("{start: 2026-02-01, end: 2026-01-01}", "schedules: end must not be before start"),
        ('{score: {cron: "0 0 31 2 *", partition: ended}}', "a cron expression of some day that there is"),
        ('{score: {cron: "R R * * *", partition: ended}}', "a cron expression without R"),
        ('{score: {cron: "0 0 * * *", partition: ended, deadline: 6}}', 'hours and minutes in quotes, like "06:00"'),
        ('{score: {cron: "0 0 * * *", partition: ended, deadline: "24:00"}}', "a time of day"),
        ('{score: {cron: "0 0 * * *", partition: ended, wait: 6}}', "a duration is a whole number"),
        ('{retrain: {cron: "0 0 * * *", partition: ended, wait: 6h}}', "schedules.retrain.wait"),
    ],
)
def test_a_schedule_that_cannot_be_is_a_fault_of_the_spec(shop: Any, schedules: str, says: str) -> None:
    spec = (shop.settings.models / "toys" / "model.yaml").read_text()
    shop.write_model(spec=f"{spec}schedules: {schedules}\n")
    with pytest.raises(InvalidSpec) as caught:
        shop.job("2026-01-16")
    assert says in str(caught.value)


def test_hours_have_no_time_of_day_to_be_done_by(shop: Any) -> None:
    spec = (shop.settings.models / "toys" / "model.yaml").read_text().replace("every: day", "every: hour")
    schedules = 'schedules: {score: {cron: "0 * * * *", partition: ended, deadline: "06:00"}}\n'
    shop.write_model(spec=spec + schedules)
    with pytest.raises(InvalidSpec, match=r"schedules: score\.deadline is a time of day, and the partitions are hours"):
        shop.job("2026-01-16T00")
