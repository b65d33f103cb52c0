"""Overrides: in force until they end, renewed, cut short, and never left behind."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from registry.desk import FAR, Desk, asked, day, decision_on, wait_for

from model_registry.codec import digest
from model_registry.errors import Rejected
from model_registry.requests import Outcome
from model_registry.store import Stage, Version
from model_registry.timeline import Kind

MODEL = "flight_delays"
PRODUCTION, STAGING, ARCHIVED = Stage.production, Stage.staging, Stage.archived


def _soon() -> datetime:
    return datetime.now(UTC) + timedelta(seconds=0.3)


def test_an_override_ends_for_the_alias_and_for_partitions(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.succession(1)
    second, soon = desk.candidate(passed=False), _soon()
    result = desk.override(second, soon, day(5))
    assert result.sentence == (
        f"flight_delays version 2 is in production from 2013-02-13 00:00 UTC on until {soon:%Y-%m-%d %H:%M} UTC, by an "
        f"override (the storm)."
    )
    assert (desk.production(), desk.alias()) == (2, 2)
    assert desk.store.version(MODEL, 2).override == f"until {soon:%Y-%m-%d %H:%M} UTC by ada: the storm"
    wait_for(soon)
    assert (desk.production(), desk.alias(), desk.noted()) == (1, 1, 1)
    assert [desk.champion(at) for at in (day(4), day(5), soon - timedelta(seconds=1), soon)] == [1, 2, 2, 1]
    assert desk.store.version(MODEL, 2).override == ""
    row = desk.history()[-1]
    assert (row.kind, row.until, row.actor, row.reason, row.replaces) == (Kind.override, soon, "ada", "the storm", 1)
    assert row.evidence == digest(decision_on(second, passed=False))
    assert len(desk.history()) == 2  # its end was recorded when it began
    assert caplog.messages == []


def test_a_first_override_ends_with_nothing_in_production(desk: Desk) -> None:
    first, soon = desk.candidate(passed=False), _soon()
    desk.override(first, soon)
    assert desk.production() == 1
    wait_for(soon)
    assert (desk.production(), desk.alias()) == (None, None)
    with pytest.raises(Rejected, match="has no version in production: there is nothing to roll back"):
        desk.roll_back(at=datetime.now(UTC))


def test_a_renewed_override_is_shown_with_its_new_end(desk: Desk) -> None:
    desk.succession(1)
    second = desk.candidate(passed=False)
    desk.override(second, FAR)
    later = FAR + timedelta(days=30)
    assert desk.override(second, later, day(1), reason="the storm goes on").outcome is Outcome.promoted
    assert desk.store.version(MODEL, 2).override == "until 2190-01-31 00:00 UTC by ada: the storm goes on"
    again = desk.override(second, later, day(2))
    assert again.outcome is Outcome.unchanged
    assert again.sentence == (
        "flight_delays version 2 is in production already, by an override until 2190-01-31 00:00 UTC: to keep it "
        "longer, override again with that --until."
    )
    assert [p.until for p in desk.history()] == [None, FAR, later]


def test_an_override_that_is_cut_short_ends_early(desk: Desk) -> None:
    desk.succession(1)
    second, soon = desk.candidate(passed=False), _soon()
    desk.override(second, FAR)
    desk.override(second, soon, day(1))
    assert desk.production() == 2
    wait_for(soon)
    assert (desk.production(), desk.alias()) == (1, 1)


def test_a_promotion_over_an_override_takes_its_words_away(desk: Desk) -> None:
    (first,) = desk.succession(1)
    second, third = desk.candidate(passed=False), desk.candidate()
    desk.override(second, FAR)
    assert desk.promote(third, second, day(5)).outcome is Outcome.promoted
    assert (desk.store.version(MODEL, 2).override, desk.alias()) == ("", 3)
    desk.store.set_alias(MODEL, PRODUCTION, 1)
    desk.override(second, FAR, FAR - timedelta(days=9))
    assert desk.store.version(MODEL, 2).override != ""
    desk.store.set_alias(MODEL, PRODUCTION, 3)
    assert desk.production() == 3
    assert desk.store.version(MODEL, 2).override == ""
    assert first.override == ""


def test_an_override_of_the_version_in_production_is_not_needed(desk: Desk) -> None:
    (first,) = desk.succession(1)
    assert desk.override(first, FAR).outcome is Outcome.unchanged
    assert len(desk.history()) == 1


def test_an_override_needs_a_report_though_not_an_open_one(desk: Desk) -> None:
    candidate = desk.candidate(passed=None)
    with pytest.raises(Rejected, match="has no report of a metric gate: judge it before promoting it"):
        desk.override(candidate, FAR)


def test_an_override_looks_at_no_champion(desk: Desk) -> None:
    first, _ = desk.succession(2)
    third = desk.candidate()
    assert desk.registry.promote(decision_on(third, first), asked(day(20), until=FAR)).outcome is Outcome.promoted
    assert desk.history()[-1].replaces == 2


def test_what_is_overridden_cannot_be_archived_nor_what_it_falls_back_to(desk: Desk) -> None:
    first = desk.succession(1)[0]
    second: Version = desk.candidate(passed=False)
    desk.override(second, FAR)
    with pytest.raises(Rejected, match="version 2 is in production: promote another version or roll back"):
        desk.archive(second)
    with pytest.raises(Rejected, match="version 1 is in production again when the override ends"):
        desk.archive(first)
    assert replace(desk.history()[-1], until=None).kind is Kind.override
    assert desk.alias(ARCHIVED) is None


def test_the_log_is_quiet_when_all_is_well(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "model_registry"):
        desk.succession(3)
        desk.roll_back()
    assert caplog.messages == []
