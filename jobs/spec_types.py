"""The values that a spec is made of: names, durations, times of day, time zones, cron expressions."""

from __future__ import annotations

import re
from datetime import time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

NAME = r"^[a-z][a-z0-9_]{0,62}$"
DURATION = r"^[1-9][0-9]{0,4}[smhd]$"
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"


def _duration(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(DURATION, value):
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[value[-1]]
        return timedelta(**{unit: int(value[:-1])})
    if isinstance(value, timedelta):
        return value
    raise ValueError("a duration is a whole number with s, m, h or d behind it, like 7d")


def _clock(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(CLOCK, value):
        return time.fromisoformat(value)
    if isinstance(value, time):
        return value
    raise ValueError('a time of day is hours and minutes in quotes, like "06:00"')


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (OSError, ValueError, KeyError):
        raise ValueError("an IANA time zone, like UTC or America/New_York") from None
    return value


def _cron(value: str) -> str:
    from croniter import CroniterBadDateError, croniter

    if len(value.split()) != 5 or not croniter.is_valid(value):
        raise ValueError("a cron expression of five fields, like '0 0 * * *'")
    if any(field.lower().startswith("r") for field in value.split()):
        raise ValueError("a cron expression without R: a random time is another one each time that it is asked for")
    try:
        croniter(value).get_next()
    except CroniterBadDateError:
        raise ValueError("a cron expression of some day that there is") from None
    return value


def _text(value: timedelta) -> str:
    minutes, seconds = divmod(int(value.total_seconds()), 60)
    return f"{60 * minutes + seconds}s" if seconds else f"{minutes}m"


Duration = Annotated[
    timedelta,
    BeforeValidator(_duration, json_schema_input_type=Annotated[str, Field(pattern=DURATION)]),
    PlainSerializer(_text, return_type=str),
]
Clock = Annotated[
    time,
    BeforeValidator(_clock, json_schema_input_type=Annotated[str, Field(pattern=CLOCK)]),
    PlainSerializer(lambda value: f"{value:%H:%M}", return_type=str),
]
Zone = Annotated[str, AfterValidator(_zone)]
Cron = Annotated[str, AfterValidator(_cron)]
Name = Annotated[str, Field(pattern=NAME)]
