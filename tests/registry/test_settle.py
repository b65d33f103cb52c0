"""Aliases brought in step: what was cut off is finished, what was moved by hand is noticed, by any command."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from registry.desk import FAR, NIGHT, Desk, day, decision_on, move

from model_registry.codec import digest
from model_registry.errors import Misconfigured, Rejected
from model_registry.metric_gate import Action
from model_registry.requests import Outcome
from model_registry.store import Stage
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
