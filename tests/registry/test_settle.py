"""Aliases brought in step: what was cut off is finished, what was moved by hand is noticed, by any command."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from registry.desk import CLOCK, FAR, NIGHT, Desk, asked, day, decision_on, move, wait_for

from model_registry.codec import digest
from model_registry.errors import Misconfigured, Rejected
from model_registry.metric_gate import Action
from model_registry.requests import Outcome
from model_registry.store import Stage, Version
from model_registry.timeline import Kind, Promotion

MODEL = "flight_delays"
PRODUCTION, STAGING, ARCHIVED = Stage.production, Stage.staging, Stage.archived


def _append(desk: Desk, *rows: Promotion) -> None:
    with desk.registry.ledger.locked(MODEL) as session:
        for row in rows:
            session.append(row)


def _notes(desk: Desk) -> int:
    from model_registry.tables import ALIAS_MOVES

    with desk.registry.ledger.reading() as session:
        return len(session._connection.execute(ALIAS_MOVES.select()).all())


def test_settling_what_is_in_step_notes_nothing(desk: Desk) -> None:
    desk.succession(2)
    notes, rows = _notes(desk), len(desk.history())
    for _ in range(3):
        desk.registry.settle(MODEL)
    assert (_notes(desk), len(desk.history())) == (notes, rows)
    assert notes == 2  # one for each move of the one alias


def test_a_move_that_was_cut_off_before_the_alias_is_finished(desk: Desk) -> None:
    _, _ = desk.succession(2)
    third = desk.candidate()
    _append(desk, move(third.number, 30))
    assert desk.alias() == 2
    desk.registry.settle(MODEL)
    assert (desk.alias(), desk.noted(), len(desk.history())) == (3, 3, 3)


def test_a_move_that_was_cut_off_after_the_alias_is_noted(desk: Desk) -> None:
    desk.succession(2)
    third = desk.candidate()
    _append(desk, move(third.number, 30))
    desk.store.set_alias(MODEL, PRODUCTION, 3)
    desk.registry.settle(MODEL)
    assert (desk.alias(), desk.noted(), len(desk.history())) == (3, 3, 3)


def test_a_refusal_does_not_forget_what_was_settled_before_it(desk: Desk) -> None:
    desk.succession(2)
    third = desk.candidate()
    _append(desk, move(third.number, 30))
    with pytest.raises(Rejected, match="Version 99"):
        desk.roll_back(99)
    assert (desk.alias(), desk.noted()) == (3, 3)
    desk.store.set_alias(MODEL, PRODUCTION, 2)  # by hand: not to be taken for what was cut off
    assert desk.production() == 2


def test_an_alias_that_was_deleted_by_hand_is_set_again(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.succession(2)
    desk.store.drop_alias(MODEL, PRODUCTION)
    assert desk.production() == 2
    assert (desk.alias(), desk.noted(), len(desk.history())) == (2, 2, 2)
    (said,) = caplog.messages
    assert said == "The alias flight_delays@production was deleted by hand: it points to version 2 again."


def test_what_was_cut_off_is_finished_without_a_word(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.succession(1)
    second = desk.candidate()
    _append(desk, move(second.number, 30))
    desk.registry.settle(MODEL)
    assert caplog.messages == []


# Moved by hand


def test_a_hand_moved_alias_with_evidence_is_honoured_and_recorded(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    before = datetime.now(UTC)
    desk.store.set_alias(MODEL, PRODUCTION, 2)
    assert desk.registry.champion(MODEL, FAR) == second
    assert desk.registry.champion(MODEL, day(0)) == first  # the past stays what it was
    row = desk.history()[-1]
    expected = Promotion(
        MODEL,
        2,
        second.digest,
        PRODUCTION,
        row.recorded_at,
        row.recorded_at,
        "external",
        "the alias was moved outside Lamplighter",
        digest(decision_on(second)),
        Kind.external,
        replaces=1,
    )
    assert desk.history()[1:] == [expected]
    assert before <= row.recorded_at <= datetime.now(UTC)
    assert (desk.alias(), desk.noted()) == (2, 2)
    assert caplog.messages == [
        "The alias flight_delays@production was moved by hand to version 2: recorded as external."
    ]


def test_a_hand_moved_alias_counts_even_before_a_promotion_that_is_yet_to_begin(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    desk.promote(first, at=tomorrow)
    desk.store.set_alias(MODEL, PRODUCTION, 2)
    for _ in range(3):
        assert desk.registry.champion(MODEL, FAR) == second
    assert [p.version for p in desk.history()] == [1, 2]
    assert desk.history()[-1].effective_from == tomorrow
    assert desk.alias() == 2


def test_a_hand_set_first_alias_with_evidence_is_honoured(desk: Desk) -> None:
    desk.candidate()
    desk.store.set_alias(MODEL, PRODUCTION, 1)
    assert desk.production() == 1
    assert [(p.kind, p.replaces) for p in desk.history()] == [(Kind.external, None)]


@pytest.mark.parametrize("passed", [None, False])
def test_a_hand_moved_alias_without_evidence_is_refused_with_a_remedy(desk: Desk, passed: bool | None) -> None:
    first, second, third = desk.candidate(), desk.candidate(passed=passed), desk.candidate()
    desk.promote(first)
    desk.store.set_alias(MODEL, PRODUCTION, 2)
    commands: list[Callable[[], object]] = [
        lambda: desk.champion(NIGHT),
        desk.production,
        lambda: desk.promote(third, first),
        lambda: desk.promote(third, stage=STAGING),
        lambda: desk.promote(second, first, action=Action.keep),
        lambda: desk.archive(third),
        desk.roll_back,
        lambda: desk.registry.settle(MODEL),
    ]
    for command in commands:
        with pytest.raises(Misconfigured, match=r"by hand to version 2, .*: point it back to version 1 in MLflow, or"):
            command()
    desk.store.set_alias(MODEL, PRODUCTION, 1)
    assert desk.registry.champion(MODEL, NIGHT) == first
    assert len(desk.history()) == 1


def test_a_hand_set_first_alias_without_evidence_is_refused_with_a_remedy(desk: Desk) -> None:
    desk.candidate(passed=None)
    desk.store.set_alias(MODEL, PRODUCTION, 1)
    with pytest.raises(Misconfigured, match="delete the alias in MLflow"):
        desk.champion(NIGHT)


def test_a_version_whose_alias_was_moved_by_hand_can_be_promoted_properly(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    desk.store.set_alias(MODEL, PRODUCTION, 2)
    assert desk.promote(second, first, day(1)).outcome is Outcome.promoted
    assert [(p.version, p.kind) for p in desk.history()] == [(1, Kind.promotion), (2, Kind.promotion)]
    assert (desk.alias(), desk.noted()) == (2, 2)


def test_a_version_whose_alias_was_moved_by_hand_can_be_overridden_to(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate(passed=False)
    desk.promote(first)
    desk.store.set_alias(MODEL, PRODUCTION, 2)
    assert desk.override(second, FAR).outcome is Outcome.promoted
    assert [p.kind for p in desk.history()] == [Kind.promotion, Kind.override]


def test_a_refused_promotion_leaves_the_hand_moved_alias_to_the_next_command(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    desk.store.set_alias(MODEL, PRODUCTION, 2)
    with pytest.raises(Rejected):
        desk.promote(second)  # judged against no champion
    assert [p.version for p in desk.history()] == [1]
    assert desk.production() == 2
    assert [p.kind for p in desk.history()] == [Kind.promotion, Kind.external]


def test_an_alias_moved_by_hand_and_back_is_nothing(desk: Desk) -> None:
    desk.succession(2)
    desk.store.set_alias(MODEL, PRODUCTION, 1)
    desk.store.set_alias(MODEL, PRODUCTION, 2)
    assert desk.production() == 2
    assert len(desk.history()) == 2


def test_staging_moved_by_hand_is_honoured_and_recorded_even_without_evidence(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate(passed=False)
    desk.promote(first)
    desk.store.set_alias(MODEL, STAGING, 2)
    assert desk.production() == 1
    row = desk.history()[-1]
    assert (row.version, row.stage, row.kind, row.evidence, row.replaces) == (2, STAGING, Kind.external, None, None)
    assert desk.promote(second, stage=STAGING).outcome is Outcome.unchanged
    with pytest.raises(Rejected, match="is closed"):
        desk.promote(second, first)


def test_staging_deleted_by_hand_is_set_again(desk: Desk) -> None:
    first = desk.candidate()
    desk.promote(first, stage=STAGING)
    desk.store.drop_alias(MODEL, STAGING)
    desk.registry.settle(MODEL)
    assert desk.alias(STAGING) == 1


def test_the_archive_is_not_moved_by_hand(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    desk.succession(3)
    desk.archive(desk.store.version(MODEL, 1))
    desk.store.set_alias(MODEL, ARCHIVED, 2)
    desk.registry.settle(MODEL)
    assert desk.alias(ARCHIVED) == 1
    assert "was moved to version 2 by hand: it points to version 1 again" in caplog.text
    assert len(desk.history()) == 4


def test_an_archive_that_nobody_made_is_taken_away(desk: Desk) -> None:
    desk.succession(2)
    desk.store.set_alias(MODEL, ARCHIVED, 1)
    desk.registry.settle(MODEL)
    assert (desk.alias(ARCHIVED), desk.noted(ARCHIVED)) == (None, None)


def test_a_promotion_takes_the_challenger_out_of_staging(desk: Desk) -> None:
    first = desk.candidate()
    desk.promote(first, stage=STAGING)
    desk.promote(first)
    assert [desk.alias(stage) for stage in Stage] == [None, 1, None]


# Deleted or replaced behind the ledger


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
    with pytest.raises(Misconfigured, match=r"Version 1 .* was in production then .* deleted in MLflow: name another"):
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


# Overrides end


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
    assert desk.override(second, later, day(2)).outcome is Outcome.unchanged
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
