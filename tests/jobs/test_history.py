"""Which version was in production at any time, as was known at any time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.errors import Misconfigured
from jobs.history import moves, parse_instant
from jobs.moves import Wish, archive, challenge
from jobs.partition import Calendar, Every
from jobs.registry import open_registry
from jobs.train import train
from model_registry.store import Stage
from model_registry.timeline import Kind


def versions(shop: Any, *instants: datetime | None) -> list[int]:
    return [row.version for row in moves(shop.settings, open_registry(shop.settings), "toys", *instants)]


def test_the_version_in_production_at_any_time_as_was_known_at_any_time(open_shop: Any) -> None:
    first = moves(open_shop.settings, open_registry(open_shop.settings), "toys")[0]
    open_shop.retrain("2026-01-19")
    assert versions(open_shop) == [1, 2]
    assert versions(open_shop, parse_instant("2026-01-14")) == []
    assert versions(open_shop, parse_instant("2026-01-15")) == [1]
    assert versions(open_shop, parse_instant("2026-01-19T23:59:59Z")) == [1]
    assert versions(open_shop, parse_instant("2026-01-20")) == [2]
    assert versions(open_shop, parse_instant("2026-01-20"), first.recorded_at) == [1]
    assert versions(open_shop, None, first.recorded_at) == [1]
    assert versions(open_shop, None, first.recorded_at - timedelta(seconds=1)) == []


def test_a_row_says_who_why_and_on_which_evidence(open_shop: Any) -> None:
    row = moves(open_shop.settings, open_registry(open_shop.settings), "toys")[0]
    assert (row.actor, row.reason, row.kind) == ("ada", "retrain for 2026-01-14: first", Kind.promotion)
    assert len(row.evidence) == 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2013-03-05", datetime(2013, 3, 5, tzinfo=UTC)),
        ("2013-03-05T12:00Z", datetime(2013, 3, 5, 12, tzinfo=UTC)),
        ("2013-03-05T12:00+02:00", datetime(2013, 3, 5, 10, tzinfo=UTC)),
    ],
)
def test_instants(text: str, expected: datetime) -> None:
    assert parse_instant(text) == expected


TOKYO, NEW_YORK = Calendar(Every.day, "Asia/Tokyo"), Calendar(Every.hour, "America/New_York")


@pytest.mark.parametrize(
    ("calendar", "text", "expected"),
    [
        (TOKYO, "2026-01-20", datetime(2026, 1, 19, 15, tzinfo=UTC)),
        (TOKYO, "2026-01-20T00:00Z", datetime(2026, 1, 20, tzinfo=UTC)),
        (TOKYO, "2026-01-20T12:00", datetime(2026, 1, 20, 3, tzinfo=UTC)),
        (NEW_YORK, "2013-03-05T14", datetime(2013, 3, 5, 19, tzinfo=UTC)),
        (NEW_YORK, "2013-03-05", datetime(2013, 3, 5, 5, tzinfo=UTC)),
    ],
)
def test_a_key_or_a_time_without_a_zone_is_on_the_clock_of_the_source(
    calendar: Calendar, text: str, expected: datetime
) -> None:
    assert parse_instant(text, calendar) == expected


def test_what_is_no_instant() -> None:
    with pytest.raises(Misconfigured, match="is no instant"):
        parse_instant("last spring")


def test_an_unknown_model_has_no_history(open_shop: Any) -> None:
    with pytest.raises(Misconfigured, match="There is no model 'nope'"):
        moves(open_shop.settings, open_registry(open_shop.settings), "nope")


def test_the_stages_in_force_are_told_and_a_promoted_version_waits_no_more(open_shop: Any) -> None:
    registry = open_registry(open_shop.settings)
    open_shop.retrain("2026-01-19")

    def told() -> dict[Stage, int]:
        later = datetime.now(UTC) + timedelta(days=1)
        return {row.stage: row.version for row in moves(open_shop.settings, registry, "toys", later)}

    assert told() == {Stage.production: 2}
    wish = Wish(open_shop.settings, "toys", "the tests", "1")
    challenge(wish)
    assert told() == {Stage.staging: 1, Stage.production: 2}
    archive(wish)
    assert told() == {Stage.archived: 1, Stage.production: 2}


def test_an_alias_moved_by_hand_hides_nothing_of_what_was_recorded(open_shop: Any) -> None:
    registry = open_registry(open_shop.settings)
    train(open_shop.job("2026-01-19"))
    registry.store._client.set_registered_model_alias("toys", "production", "2")  # type: ignore[attr-defined]
    assert versions(open_shop) == [1]
