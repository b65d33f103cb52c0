"""Versions that were deleted or replaced in MLflow: named, with a remedy that works."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from registry.desk import CLOCK, NIGHT, Desk, asked, day, decision_on

from model_registry.errors import Misconfigured
from model_registry.requests import Outcome
from model_registry.store import Stage
from model_registry.timeline import Kind

MODEL = "flight_delays"
PRODUCTION, STAGING, ARCHIVED = Stage.production, Stage.staging, Stage.archived


def test_a_deleted_champion_is_named_with_a_remedy_that_works(desk: Desk) -> None:
    first, second = desk.succession(2)
    third = desk.candidate()
    desk.store.delete(second)
    commands: list[Callable[[], object]] = [
        desk.production,
        desk.champion,
        lambda: desk.promote(third, second),
        lambda: desk.registry.settle(MODEL),
    ]
    for command in commands:
        with pytest.raises(Misconfigured, match=r"Version 2 of flight_delays is in production by the ledger and was "):
            command()
    result = desk.roll_back()
    assert (result.outcome, result.version, result.withdrawn) == (Outcome.rolled_back, first, 2)
    assert (desk.production(), desk.alias()) == (1, 1)


def test_the_only_version_deleted_can_be_rolled_back_to_nothing_and_the_next_is_the_first(desk: Desk) -> None:
    first = desk.candidate()
    desk.promote(first)
    desk.store.delete(first)
    with pytest.raises(Misconfigured, match="`lamplighter roll-back --model flight_delays --reason"):
        desk.production()
    result = desk.roll_back()
    assert (result.outcome, result.version, result.withdrawn) == (Outcome.rolled_back, None, 1)
    assert result.sentence == (
        "flight_delays has no version in production from 2013-02-08 00:00 UTC on; version 1 is withdrawn (scores are "
        "off). There is none to return to: retrain."
    )
    assert (desk.production(), desk.champion(NIGHT), desk.alias(), desk.noted()) == (None, None, None, None)
    again = desk.roll_back()
    assert (again.outcome, again.version, again.withdrawn) == (Outcome.unchanged, None, 1)
    assert again.sentence.endswith("by ada (scores are off): no version is in production.")
    second = desk.candidate()
    assert desk.promote(second, at=day(1)).outcome is Outcome.promoted
    assert (desk.production(), desk.alias()) == (2, 2)
    assert [(p.version, p.kind, p.digest) for p in desk.history()][1] == (1, Kind.roll_back, first.digest)


@pytest.mark.parametrize("alias_too", [True, False])
def test_a_version_that_was_replaced_behind_the_ledger_is_refused_with_a_remedy_that_works(
    desk: Desk, alias_too: bool
) -> None:
    first, second = desk.succession(2)
    desk.store.replace_by(second, digest="f" * 64)
    if alias_too:
        desk.store.drop_alias(MODEL, PRODUCTION)
    says = r"version 2 is in production .* 000000000000, .* says ffffffffffff: .*return to .*`lamplighter roll-back"
    for command in (desk.production, desk.champion):
        with pytest.raises(Misconfigured, match=says):
            command()
    assert desk.roll_back().version == first
    assert (desk.production(), desk.alias()) == (1, 1)


def test_a_champion_of_the_past_that_was_deleted_harms_that_past_alone(desk: Desk) -> None:
    first, second = desk.succession(2)
    desk.store.delete(first)
    assert (desk.production(), desk.champion(day(10))) == (2, 2)
    with pytest.raises(
        Misconfigured, match=r"Version 1 .* was in production then .* deleted in MLflow: .*; else name another"
    ):
        desk.champion(day(5))
    third = desk.candidate()
    assert desk.promote(third, second, day(20)).outcome is Outcome.promoted


@pytest.mark.parametrize("stage", [STAGING, ARCHIVED])
def test_a_deleted_version_that_is_not_in_production_blocks_nothing(
    desk: Desk, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    (first,) = desk.succession(1)
    aside, third = desk.candidate(), desk.candidate()
    if stage is STAGING:
        desk.promote(aside, stage=STAGING)
    else:
        desk.archive(aside)
    assert desk.alias(stage) == 2
    desk.store.delete(aside)
    for _ in range(3):
        assert desk.production() == 1
    assert (desk.alias(stage), desk.noted(stage)) == (None, None)
    assert caplog.text.count(f"Version 2 of flight_delays is in {stage} by the ledger, and was deleted") == 1
    assert desk.promote(third, first, day(1)).outcome is Outcome.promoted
    fourth = desk.candidate()
    assert desk.registry.promote(decision_on(fourth, third), asked(day(2), STAGING)).outcome is Outcome.staged
    assert desk.alias(STAGING) == 4


def test_a_deleted_staged_version_gives_place_without_a_dead_alias(desk: Desk) -> None:
    """The alias of another version that was staged before is not left behind."""
    desk.succession(1)
    one, two = desk.candidate(), desk.candidate()
    for version in (one, two):
        desk.promote(version, stage=STAGING)
    desk.store.set_alias(MODEL, STAGING, 2)
    desk.store.gone.add(two)
    with desk.registry.ledger.locked(MODEL) as session:
        session.note_alias(MODEL, STAGING, 2, CLOCK)
    desk.registry.settle(MODEL)
    assert (desk.alias(STAGING), desk.noted(STAGING)) == (None, None)
