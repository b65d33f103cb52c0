"""Back to the version before: once, twice, past what was deleted or archived, and never by itself to what was bad."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from registry.desk import CLOCK, FAR, NIGHT, Desk, asked, day, decision_on

from model_registry.codec import digest
from model_registry.errors import Rejected
from model_registry.metric_gate import Action
from model_registry.requests import Outcome
from model_registry.store import Stage
from model_registry.timeline import Kind

MODEL = "flight_delays"


def test_one_call_returns_to_the_version_before(desk: Desk) -> None:
    first, second = desk.succession(2)
    result = desk.roll_back()
    assert (result.outcome, result.version, result.stage) == (Outcome.rolled_back, first, Stage.production)
    assert (result.withdrawn, result.effective_from) == (second.number, day(10))
    assert result.sentence == (
        "flight_delays is back at version 1 from 2013-02-18 00:00 UTC on; version 2 is withdrawn (scores are off)."
    )
    assert (desk.production(), desk.alias(), desk.noted()) == (1, 1, 1)
    assert [desk.champion(day(n)) for n in (5, 10, 50)] == [1, 1, 1]
    row = desk.history()[-1]
    assert (row.kind, row.version, row.replaces, row.actor, row.reason) == (
        Kind.roll_back,
        1,
        2,
        "ada",
        "scores are off",
    )
    assert (row.effective_from, row.recorded_at, row.until) == (day(10), CLOCK, None)
    assert (row.digest, row.evidence) == (first.digest, digest(decision_on(first)))


def test_the_same_call_again_changes_nothing_and_says_how_to_go_further(desk: Desk) -> None:
    desk.succession(3)
    first = desk.roll_back()
    again = desk.roll_back()
    assert (again.outcome, again.withdrawn, again.effective_from) == (Outcome.unchanged, 3, first.effective_from)
    assert again.version == first.version
    assert again.sentence == (
        "Version 3 of flight_delays was withdrawn already, at 2013-02-09 03:00 UTC by ada (scores are off): version 2 "
        "is in production. To go back further, name the version to withdraw: 2."
    )
    assert len(desk.history()) == 4


def test_a_run_that_rolled_back_leaves_a_later_champion_alone(desk: Desk) -> None:
    _, second = desk.succession(2)
    assert desk.roll_back(id="the night shift").outcome is Outcome.rolled_back
    third = desk.candidate()
    desk.promote(third, desk.registry.champion(MODEL, day(30)), day(30))
    again = desk.roll_back(id="the night shift")
    assert (again.outcome, again.withdrawn) == (Outcome.unchanged, second.number)
    assert desk.production() == third.number
    assert desk.roll_back(id="another").withdrawn == third.number


def test_going_back_further_by_name(desk: Desk) -> None:
    first, second, third = desk.succession(3)
    assert desk.roll_back(3).version == second
    result = desk.roll_back(2)
    assert (result.outcome, result.version, result.withdrawn) == (Outcome.rolled_back, first, 2)
    assert (desk.production(), desk.alias()) == (1, 1)
    assert [desk.champion(day(n)) for n in (5, 15, 25)] == [1, 1, 1]
    with pytest.raises(Rejected, match=r"never in production with another version than 1 .*: there is nothing to roll"):
        desk.roll_back(1)
    assert third.number == 3


def test_a_withdrawal_of_long_ago_is_told_as_it_was(desk: Desk) -> None:
    desk.succession(3)
    desk.roll_back(3)
    desk.roll_back(2, at=CLOCK + timedelta(days=1), actor="grace", reason="worse still")
    told = desk.roll_back(3)
    assert (told.outcome, told.withdrawn, told.effective_from) == (Outcome.unchanged, 3, day(20))
    assert told.sentence.startswith("Version 3 of flight_delays was withdrawn already, at 2013-02-09 03:00 UTC by ada")
    assert told.sentence.endswith("version 1 is in production. To go back further, name the version to withdraw: 1.")
    newest = desk.roll_back()
    assert (newest.withdrawn, newest.effective_from) == (2, day(10))
    assert "at 2013-02-10 03:00 UTC by grace (worse still)" in newest.sentence


def test_a_new_version_after_a_roll_back_can_be_rolled_back_too(desk: Desk) -> None:
    first, second = desk.succession(2)
    desk.roll_back()
    third = desk.candidate()
    desk.promote(third, first, day(30))
    result = desk.roll_back()
    assert (result.version, result.withdrawn, result.effective_from) == (first, 3, day(30))
    assert second.number == 2


@pytest.mark.parametrize("bad", [1, 3, 99])
def test_a_version_that_is_not_in_production_is_not_withdrawn(desk: Desk, bad: int) -> None:
    desk.succession(2)
    desk.candidate()
    with pytest.raises(
        Rejected, match=rf"Version {bad} .* is not in production, version 2 is: nothing was rolled back"
    ):
        desk.roll_back(bad)
    assert len(desk.history()) == 2


def test_with_nothing_in_production_there_is_nothing_to_roll_back(desk: Desk) -> None:
    desk.candidate()
    for bad in (None, 1):
        with pytest.raises(Rejected, match="flight_delays has no version in production: there is nothing to roll back"):
            desk.roll_back(bad)


def test_with_nothing_before_there_is_nothing_to_return_to(desk: Desk) -> None:
    desk.succession(1)
    with pytest.raises(Rejected, match=r"nothing to roll back to\. Retrain, or promote another version with an over"):
        desk.roll_back()
    assert (desk.production(), len(desk.history())) == (1, 1)


@pytest.mark.parametrize(("since", "then"), [(day(5), [1, 1, 1, 1]), (day(12), [1, 1, 2, 1])])
def test_from_when_a_roll_back_counts(desk: Desk, since: datetime, then: list[int]) -> None:
    desk.succession(2)
    assert desk.roll_back(since=since).effective_from == since
    assert (desk.production(), desk.alias()) == (1, 1)
    assert [desk.champion(day(n)) for n in (4, 7, 11, 20)] == then


def test_a_deleted_target_is_passed_over(desk: Desk) -> None:
    first, second, _ = desk.succession(3)
    desk.store.delete(second)
    assert desk.roll_back().version == first
    assert desk.alias() == 1


def test_a_deleted_target_is_passed_over_also_from_early_on(desk: Desk) -> None:
    _, second, _ = desk.succession(3)
    desk.store.delete(second)
    assert desk.roll_back(since=day(5)).version is not None
    assert (desk.production(), desk.alias(), desk.champion(day(12))) == (1, 1, 1)


def test_a_replaced_target_is_passed_over(desk: Desk) -> None:
    first, second, _ = desk.succession(3)
    desk.store.replace_by(second, digest="f" * 64)
    assert desk.roll_back().version == first


def test_an_archived_target_is_passed_over(desk: Desk) -> None:
    first, second, _ = desk.succession(3)
    desk.archive(second)
    assert desk.roll_back().version == first
    assert [desk.alias(stage) for stage in Stage] == [None, 1, 2]


def test_a_roll_back_after_an_override_withdraws_the_override(desk: Desk) -> None:
    (first,) = desk.succession(1)
    second = desk.candidate(passed=False)
    desk.override(second, FAR, day(5))
    desk.override(second, FAR + timedelta(days=1), day(9))
    result = desk.roll_back()
    assert (result.version, result.withdrawn, result.effective_from) == (first, 2, day(5))
    assert (desk.production(), desk.alias()) == (1, 1)
    assert desk.store.version(MODEL, 2).override == ""
    assert desk.champion(day(10)) == 1


def test_nobody_returns_to_a_version_that_was_there_by_an_override(desk: Desk) -> None:
    first = desk.succession(1)[0]
    second, third = desk.candidate(passed=False), desk.candidate()
    desk.override(second, FAR, day(5))
    desk.promote(third, second, day(6))
    assert desk.roll_back().version == first


def test_what_was_withdrawn_is_not_promoted_again_by_itself(desk: Desk) -> None:
    first, second = desk.succession(2)
    desk.roll_back()
    result = desk.promote(second, first, day(20))
    assert (result.outcome, result.stage) == (Outcome.kept, None)
    assert result.sentence == (
        "flight_delays version 2 was withdrawn at 2013-02-09 03:00 UTC by ada (scores are off): it is not promoted "
        "again by itself. If it should be, promote it by its number: --version 2."
    )
    assert desk.promote(second, first, day(20), stage=Stage.staging).outcome is Outcome.staged
    assert desk.override(second, FAR, day(21)).outcome is Outcome.promoted
    assert desk.production() == 2
    assert desk.roll_back().version == first  # the override is withdrawn in its turn
    assert desk.production() == 1


def test_what_was_withdrawn_comes_back_for_good_when_a_person_names_it(desk: Desk) -> None:
    first, second = desk.succession(2)
    desk.roll_back()
    assert desk.promote(second, first, day(20), by_name=True).outcome is Outcome.promoted
    newest = desk.history()[-1]
    assert (newest.version, newest.kind, newest.until) == (2, Kind.promotion, None)
    assert desk.production() == 2


def test_a_roll_back_says_what_it_passes_over(desk: Desk) -> None:
    desk.succession(2)
    tried, bad = desk.candidate(passed=False), desk.candidate(passed=False)
    desk.override(tried, FAR, day(10))
    desk.override(bad, FAR, day(12))
    result = desk.roll_back(at=day(13))
    assert result.version is not None
    assert result.version.number == 2
    assert result.sentence.endswith(
        " Version 3, there just before by an override, is passed over: promote it if it is wanted."
    )


def test_the_retrain_of_the_withdrawn_version_asked_again_does_not_bring_it_back(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    desk.promote(second, first, day(10), id="nightly")
    desk.roll_back()
    assert desk.promote(second, first, day(10), id="nightly").outcome is Outcome.kept
    assert desk.production() == 1


def test_a_roll_back_finishes_what_was_moved_by_hand_first(desk: Desk) -> None:
    _, second = desk.succession(2)
    desk.store.set_alias(MODEL, Stage.production, 1)
    before = datetime.now(UTC)
    result = desk.roll_back(at=datetime.now(UTC) + timedelta(seconds=1))
    assert (result.version, result.withdrawn) == (second, 1)  # the hand's version is the one in production
    assert result.effective_from is not None
    assert result.effective_from >= before
    assert [p.kind for p in desk.history()] == [Kind.promotion, Kind.promotion, Kind.external, Kind.roll_back]


# Put aside, put forward


def test_archive_puts_a_version_aside_once(desk: Desk) -> None:
    first, second = desk.succession(2)
    result = desk.archive(first)
    assert (result.outcome, result.stage, result.sentence) == (
        Outcome.archived,
        Stage.archived,
        "flight_delays version 1 is archived.",
    )
    again = desk.archive(first)
    assert (again.outcome, again.sentence) == (Outcome.unchanged, "flight_delays version 1 is archived already.")
    assert [desk.alias(stage) for stage in Stage] == [None, 2, 1]
    assert [(p.version, p.kind) for p in desk.history(Stage.archived)] == [(1, Kind.archive)]
    with pytest.raises(Rejected, match=r"version 2 is in production: promote another version or roll back, then"):
        desk.archive(second)
    with pytest.raises(Rejected, match="nothing to roll back to"):
        desk.roll_back()


def test_archive_takes_a_challenger_out_of_staging_and_a_challenge_brings_it_back(desk: Desk) -> None:
    desk.succession(1)
    second = desk.candidate()
    desk.promote(second, stage=Stage.staging)
    desk.archive(second)
    assert [desk.alias(stage) for stage in Stage] == [None, 1, 2]
    desk.promote(second, stage=Stage.staging)
    assert [desk.alias(stage) for stage in Stage] == [2, 1, None]
    desk.archive(second)
    assert [desk.alias(stage) for stage in Stage] == [None, 1, 2]
    assert [p.kind for p in desk.history()][1:] == [Kind.challenge, Kind.archive, Kind.challenge, Kind.archive]


def test_what_is_promoted_leaves_the_archive(desk: Desk) -> None:
    first, second = desk.succession(2)
    desk.archive(first)
    assert desk.promote(first, second, day(20)).outcome is Outcome.promoted
    assert [desk.alias(stage) for stage in Stage] == [None, 1, None]


def test_a_decision_to_keep_stages_nothing(desk: Desk) -> None:
    first = desk.succession(1)[0]
    second = desk.candidate(passed=False)
    kept = desk.registry.promote(decision_on(second, first, Action.keep), asked(NIGHT, Stage.staging))
    assert (kept.outcome, desk.alias(Stage.staging)) == (Outcome.kept, None)
