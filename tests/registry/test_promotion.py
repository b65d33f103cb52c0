"""How a version gets to production: on evidence, once, against the champion that it was judged against."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from registry.desk import CLOCK, FAR, NIGHT, Desk, Shelf, day, decision_on, open_registry, report_on

from model_registry.codec import digest, from_json
from model_registry.errors import ChampionMoved, Misconfigured, Rejected, Unavailable
from model_registry.metric_gate import Action, Decision
from model_registry.requests import Approval, Outcome
from model_registry.store import Stage
from model_registry.timeline import Kind, Promotion

MODEL = "flight_delays"


def test_the_words_that_are_kept_in_databases_and_files_stay_as_they_are() -> None:
    assert [stage.value for stage in Stage] == ["staging", "production", "archived"]
    assert [kind.value for kind in Kind] == ["promotion", "override", "roll back", "challenge", "archive", "external"]
    assert [approval.value for approval in Approval] == ["none", "required", "two_persons"]
    assert [outcome.value for outcome in Outcome] == [
        "promoted",
        "staged",
        "archived",
        "rolled_back",
        "kept",
        "unchanged",
    ]


def test_the_first_promotion_is_recorded_and_pointed_to(desk: Desk) -> None:
    candidate = desk.candidate()
    result = desk.promote(candidate)
    assert (result.outcome, result.stage, result.effective_from) == (Outcome.promoted, Stage.production, NIGHT)
    assert result.sentence == "flight_delays version 1 is in production from 2013-02-08 00:00 UTC on."
    assert desk.alias() == 1
    evidence = digest(decision_on(candidate))
    expected = Promotion(MODEL, 1, candidate.digest, Stage.production, NIGHT, CLOCK, "airflow", "a retrain", evidence)
    assert desk.history() == [expected]
    with desk.registry.ledger.reading() as session:
        assert from_json(Decision, session.evidence(evidence) or "") == decision_on(candidate)


def test_a_better_one_replaces_the_champion(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    assert desk.promote(second, first, day(1)).outcome is Outcome.promoted
    assert desk.alias() == 2
    assert [(p.version, p.replaces) for p in desk.history()] == [(1, None), (2, 1)]
    assert desk.registry.champion(MODEL, day(0)) == first
    assert desk.registry.champion(MODEL, day(1)) == second


def test_the_same_decision_again_changes_nothing(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    for _ in range(2):
        desk.promote(first)
    results = [desk.promote(second, first, day(1)) for _ in range(3)]
    assert [r.outcome for r in results] == [Outcome.promoted, Outcome.unchanged, Outcome.unchanged]
    assert results[1].sentence == "flight_delays version 2 is in production already."
    assert [p.version for p in desk.history()] == [1, 2]


def test_keep_changes_nothing(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate(passed=False)
    desk.promote(first)
    result = desk.promote(second, first, day(1), action=Action.keep)
    assert (result.outcome, result.stage) == (Outcome.kept, None)
    assert result.sentence.startswith("Version 1 stays; flight_delays version 2 is not promoted.")
    assert (desk.alias(), len(desk.history())) == (1, 1)


@pytest.mark.parametrize("stage", [Stage.production, Stage.staging])
@pytest.mark.parametrize(("passed", "says"), [(None, "has no report of a metric gate: judge it"), (False, "is closed")])
def test_without_passed_evidence_there_is_no_promotion(
    desk: Desk, stage: Stage, passed: bool | None, says: str
) -> None:
    candidate = desk.candidate(passed=passed)
    with pytest.raises(Rejected, match=says) as raised:
        desk.promote(candidate, stage=stage)
    assert raised.value.report == (None if passed is None else report_on(candidate, passed=False))
    assert (desk.alias(stage), desk.history()) == (None, [])


def test_a_champion_that_moved_is_named(desk: Desk) -> None:
    first, second, third = (desk.candidate() for _ in range(3))
    desk.promote(first)
    desk.promote(second, first)
    with pytest.raises(ChampionMoved, match=r"version 3 was judged against version 1, .* now version 2: evaluate"):
        desk.promote(third, first)
    with pytest.raises(ChampionMoved, match=r"judged against no champion, .* now version 2"):
        desk.promote(third)
    assert (desk.alias(), len(desk.history())) == (2, 2)


def test_a_champion_that_is_gone_is_named(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    with pytest.raises(ChampionMoved, match=r"version 2 was judged against version 1, .* is now none"):
        desk.promote(second, first)


def test_staging_comes_before_production(desk: Desk) -> None:
    candidate = desk.candidate()
    outcomes = [desk.promote(candidate, stage=Stage.staging).outcome for _ in range(2)]
    assert outcomes == [Outcome.staged, Outcome.unchanged]
    assert (desk.alias(Stage.staging), desk.alias()) == (1, None)
    assert desk.registry.champion(MODEL, NIGHT) is None
    assert desk.promote(candidate).outcome is Outcome.promoted
    assert [p.stage for p in desk.history()] == [Stage.staging, Stage.production]
    assert desk.alias() == 1


def test_a_later_recorded_promotion_of_an_earlier_time_does_not_move_the_alias_back(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate(until=day(-9))
    desk.promote(first)
    assert desk.promote(second, at=day(-5)).outcome is Outcome.promoted
    assert desk.alias() == 1
    assert [desk.registry.champion(MODEL, day(n)) for n in (-6, -5, 0)] == [None, second, first]


@pytest.mark.parametrize("failures", [1, 2])
def test_a_registry_that_fails_half_way_is_brought_in_step_at_once_or_by_the_next_command(failures: int) -> None:
    class Failing(Shelf):
        moved = 0

        def set_alias(self, model: str, stage: Stage, number: int) -> None:
            super().set_alias(model, stage, number)
            self.moved += 1
            if self.moved <= failures:
                raise Unavailable("MLflow went away after it had moved the alias")

    desk = Desk(open_registry(Failing()))
    candidate = desk.candidate()
    with pytest.raises(Unavailable):
        desk.promote(candidate)
    assert (len(desk.history()), desk.alias(), desk.noted()) == (1, 1, None if failures == 2 else 1)
    assert desk.promote(candidate).outcome is Outcome.unchanged
    assert [(p.version, p.kind) for p in desk.history()] == [(1, Kind.promotion)]
    assert desk.noted() == 1
    desk.registry.ledger.close()


def test_the_same_request_gets_the_same_answer_again(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first, id="nightly 1")
    done = desk.promote(second, first, day(1), id="nightly 2")
    assert desk.promote(second, first, day(1), id="nightly 2") == done
    assert done.outcome is Outcome.promoted
    assert desk.promote(second, first, day(1), id="nightly 3").outcome is Outcome.unchanged
    assert [p.request for p in desk.history()] == ["nightly 1", "nightly 2"]


def test_the_same_challenge_gets_the_same_answer_again_whatever_was_staged_since(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    done = desk.promote(first, stage=Stage.staging, id="one")
    assert done.sentence == "flight_delays version 1 waits in staging."
    desk.promote(second, stage=Stage.staging, id="two")
    desk.promote(second)
    assert desk.promote(first, stage=Stage.staging, id="one") == done
    assert desk.promote(first, stage=Stage.staging, id="two").outcome is Outcome.unchanged
    assert desk.promote(first, stage=Stage.staging).sentence == "flight_delays version 1 is staged."
    assert [(p.version, p.kind) for p in desk.history()] == [
        (1, Kind.challenge),
        (2, Kind.challenge),
        (2, Kind.promotion),
    ]


def test_the_evidence_of_another_version_is_refused(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate(passed=False)
    desk.store._evidence[MODEL, 2] = decision_on(first)
    with pytest.raises(Rejected, match=r"kept with flight_delays version 2 is about flight_delays version 1: judge"):
        desk.promote(second)
    desk.store._evidence[MODEL, 2] = decision_on(replace(second, digest="f" * 64))
    for until in (None, FAR):
        with pytest.raises(Rejected, match=r"version 2 is about flight_delays version 2: judge"):
            desk.promote(second, until=until)
    desk.store.set_alias(MODEL, Stage.production, 2)
    with pytest.raises(Misconfigured, match="has no passed report"):
        desk.champion()
    assert desk.history() == []


def test_a_challenger_needs_no_champion_and_no_approval(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    result = desk.promote(second, stage=Stage.staging, approval=Approval.two_persons)
    assert (result.outcome, desk.alias(Stage.staging), desk.alias()) == (Outcome.staged, 2, 1)
    assert desk.history()[-1].replaces is None


# Who agrees


@pytest.mark.parametrize(
    ("approval", "by", "says"),
    [
        (Approval.none, None, None),
        (Approval.required, "airflow", None),
        (Approval.required, "grace", None),
        (Approval.two_persons, "grace", None),
        (
            Approval.required,
            None,
            r"needs an approval .*: trigger promote_flight_delays in Airflow, or .*--approved-by",
        ),
        (Approval.two_persons, None, "needs an approval"),
        (Approval.two_persons, "airflow", r"airflow asked for .* version 1 and cannot approve it alone: .* a second"),
    ],
)
@pytest.mark.parametrize("until", [None, FAR])
def test_who_must_agree(
    desk: Desk, approval: Approval, by: str | None, says: str | None, until: datetime | None
) -> None:
    candidate = desk.candidate()
    if says is None:
        assert desk.promote(candidate, approval=approval, approved_by=by, until=until).outcome is Outcome.promoted
        assert [p.approved_by for p in desk.history()] == [by]
    else:
        with pytest.raises(Rejected, match=says):
            desk.promote(candidate, approval=approval, approved_by=by, until=until)
        assert (desk.history(), desk.alias()) == ([], None)


def test_a_promotion_dated_back_behind_the_champion_says_which_version_stays(desk: Desk) -> None:
    first = desk.candidate()
    desk.promote(first, None, day(0))
    second, third = desk.candidate(), desk.candidate()
    desk.promote(second, first, day(10))
    done = desk.promote(third, first, day(5))
    assert done.sentence.endswith("UTC on, until version 2 began: that one stays in production now.")
    assert (desk.production(), desk.champion(day(7))) == (2, 3)
