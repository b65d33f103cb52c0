"""How a version gets to production: on evidence, once, against the champion that it was judged against."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from model_registry.codec import digest
from model_registry.errors import ChampionMoved, Misconfigured, Rejected, Unavailable, UnknownVersion
from model_registry.evidence import GateReport
from model_registry.ledger import Ledger, Promotion
from model_registry.memory_store import MemoryStore
from model_registry.metric_gate import Action, Decision
from model_registry.promotion import END_OF_TIME, Outcome, PromotionResult, Registry, Request, resolve
from model_registry.store import NewVersion, Stage, Version

MODEL = "flight_delays"
NIGHT = datetime(2013, 2, 8, tzinfo=UTC)
CLOCK = datetime(2013, 2, 9, 3, tzinfo=UTC)


def day(number: int) -> datetime:
    return NIGHT + timedelta(days=number)


@dataclass
class Desk:
    """A registry, and the few moves that the tests make on it."""

    registry: Registry
    report_of: Callable[..., GateReport]

    def candidate(self, until: datetime = NIGHT, passed: bool | None = True) -> Version:
        """A version with a report that passed, one that did not, or (None) without."""
        number = len(self.registry.store.versions(MODEL)) + 1
        version = self.registry.store.register(
            NewVersion(MODEL, f"{number:0>64}", "s", f"p{number}", day(-30), until, f"mlflow-{number}", "/nowhere")
        )
        if passed is not None:
            self.registry.store.attach(version, self.report_of(passed=passed, subject=str(version)))
        return version

    def promote(
        self,
        candidate: Version,
        champion: Version | None = None,
        at: datetime = NIGHT,
        stage: Stage = Stage.production,
        action: Action | None = None,
    ) -> PromotionResult:
        wanted = action or (Action.promote if champion else Action.first)
        decision = Decision(candidate, champion, wanted, self.report_of(subject=str(candidate)))
        return self.registry.promote(decision, Request(stage, at, "airflow", "a retrain", CLOCK))

    def history(self) -> list[Promotion]:
        with self.registry.ledger.reading() as session:
            return session.history(MODEL)

    def alias(self, stage: Stage = Stage.production) -> int | None:
        return self.registry.store.alias(MODEL, stage)


@pytest.fixture
def desk(report_of: Callable[..., GateReport]) -> Iterator[Desk]:
    registry = Registry(MemoryStore(), Ledger("sqlite://"))
    yield Desk(registry, report_of)
    registry.ledger.close()


def test_the_first_promotion_is_recorded_and_pointed_to(desk: Desk) -> None:
    candidate = desk.candidate()
    result = desk.promote(candidate)
    assert (result.outcome, result.stage, result.effective_from) == (Outcome.promoted, Stage.production, NIGHT)
    assert result.sentence == "flight_delays version 1 is in production from 2013-02-08 00:00 UTC on."
    assert desk.alias() == 1
    evidence = digest(desk.report_of(subject=str(candidate)))
    expected = Promotion(
        MODEL, 1, candidate.digest, Stage.production, NIGHT, CLOCK, "airflow", "a retrain", evidence, external=False
    )
    assert desk.history() == [expected]


def test_a_better_one_replaces_the_champion(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    assert desk.promote(second, first, day(1)).outcome is Outcome.promoted
    assert desk.alias() == 2
    assert [p.version for p in desk.history()] == [1, 2]
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
    assert raised.value.report == (None if passed is None else desk.registry.store.evidence(candidate))
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
    first, second = desk.candidate(), desk.candidate(day(-9))
    desk.promote(first)
    assert desk.promote(second, at=day(-5)).outcome is Outcome.promoted
    assert desk.alias() == 1
    assert [desk.registry.champion(MODEL, day(n)) for n in (-6, -5, 0)] == [None, second, first]


def test_a_registry_that_fails_half_way_leaves_no_row_and_the_retry_finishes(
    desk: Desk, report_of: Callable[..., GateReport]
) -> None:
    class Failing(MemoryStore):
        moved = False

        def set_alias(self, model: str, stage: Stage, number: int) -> None:
            super().set_alias(model, stage, number)
            if not self.moved:
                self.moved = True
                raise Unavailable("MLflow went away after it had moved the alias")

    desk = Desk(Registry(Failing(), desk.registry.ledger), report_of)
    candidate = desk.candidate()
    with pytest.raises(Unavailable):
        desk.promote(candidate)
    assert (desk.history(), desk.alias()) == ([], 1)
    assert desk.promote(candidate).outcome is Outcome.promoted
    assert [(p.version, p.external) for p in desk.history()] == [(1, False)]


# Moved by hand


def test_a_hand_moved_alias_with_evidence_is_honoured_and_recorded(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)
    before = datetime.now(UTC)
    desk.registry.store.set_alias(MODEL, Stage.production, 2)
    assert desk.registry.champion(MODEL, END_OF_TIME) == second
    assert desk.registry.champion(MODEL, day(0)) == first  # the past stays what it was
    row = desk.history()[-1]
    assert (row.version, row.external, row.actor, len(desk.history())) == (2, True, "external", 2)
    assert row.evidence == digest(desk.registry.store.evidence(second))
    assert before <= row.effective_from == row.recorded_at <= datetime.now(UTC)


def test_a_hand_moved_alias_counts_even_before_a_promotion_that_is_yet_to_begin(desk: Desk) -> None:
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first, at=datetime.now(UTC) + timedelta(days=1))
    desk.registry.store.set_alias(MODEL, Stage.production, 2)
    for _ in range(3):
        assert desk.registry.champion(MODEL, END_OF_TIME) == second
    assert [p.version for p in desk.history()] == [1, 2]
    assert desk.alias() == 2


@pytest.mark.parametrize("passed", [None, False])
def test_a_hand_moved_alias_without_evidence_is_refused_with_a_remedy(desk: Desk, passed: bool | None) -> None:
    first, second = desk.candidate(), desk.candidate(passed=passed)
    third = desk.candidate()
    desk.promote(first)
    desk.registry.store.set_alias(MODEL, Stage.production, 2)
    commands: list[Callable[[], Any]] = [
        lambda: desk.registry.champion(MODEL, NIGHT),
        lambda: desk.promote(third, first),
        lambda: desk.promote(second, first, action=Action.keep),
        lambda: resolve(desk.registry, MODEL, "as-of", NIGHT),
    ]
    for command in commands:
        with pytest.raises(Misconfigured, match=r"by hand to version 2, .*: point it back to version 1 in MLflow, or"):
            command()
    desk.registry.store.set_alias(MODEL, Stage.production, 1)
    assert desk.registry.champion(MODEL, NIGHT) == first
    assert len(desk.history()) == 1


def test_a_hand_set_first_alias_without_evidence_is_refused_with_a_remedy(desk: Desk) -> None:
    desk.candidate(passed=None)
    desk.registry.store.set_alias(MODEL, Stage.production, 1)
    with pytest.raises(Misconfigured, match="delete the alias in MLflow"):
        desk.registry.champion(MODEL, NIGHT)


def test_a_version_that_was_replaced_behind_the_ledger_is_refused(desk: Desk) -> None:
    first = desk.candidate()
    desk.promote(first)
    assert isinstance(desk.registry.store, MemoryStore)
    desk.registry.store._versions[MODEL][0] = replace(first, digest="f" * 64)
    with pytest.raises(
        Misconfigured, match=r"version 1 .* digest 000000000000, .* says ffffffffffff: .*Promote another"
    ):
        desk.registry.champion(MODEL, NIGHT)


# Which version scores


@pytest.fixture
def years(desk: Desk) -> Desk:
    """Three versions: 1 effective from day 0, 2 from day 10, 3 never promoted."""
    first, second, _ = (desk.candidate(day(n)) for n in (0, 10, 20))
    desk.promote(first, at=day(0))
    desk.promote(second, first, day(10))
    return desk


@pytest.mark.parametrize(
    ("selector", "at", "number"),
    [
        ("as-of", day(0), 1),
        ("as-of", day(10) - timedelta(microseconds=1), 1),
        ("as-of", day(10), 2),
        ("as-of", day(500), 2),
        ("production", day(10), 2),
        ("1", day(0), 1),
        ("3", day(20), 3),
    ],
)
def test_a_scoring_run_resolves_its_version(years: Desk, selector: str, at: datetime, number: int) -> None:
    assert resolve(years.registry, MODEL, selector, at).number == number


@pytest.mark.parametrize(
    ("selector", "at", "error", "says"),
    [
        ("as-of", day(-1), UnknownVersion, r"no version in production at 2013-02-07 00:00 UTC: retrain and promote"),
        ("production", day(9), Misconfigured, r"version 2 has seen data up to 2013-02-18 .*: choose as-of, or"),
        ("3", day(20) - timedelta(microseconds=1), Misconfigured, r"version 3 has seen data"),
        ("4", day(30), UnknownVersion, r"has no version 4"),
        ("latest", day(30), Misconfigured, r"'latest': ask for as-of, production or a number"),
        ("-1", day(30), Misconfigured, r"'-1': ask for"),
        ("", day(30), Misconfigured, r"'': ask for"),
    ],
)
def test_a_scoring_run_is_refused(years: Desk, selector: str, at: datetime, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        resolve(years.registry, MODEL, selector, at)


def test_no_version_in_production_is_unknown(desk: Desk) -> None:
    desk.candidate()
    with pytest.raises(UnknownVersion, match="no version in production now: retrain and promote one first"):
        resolve(desk.registry, MODEL, "production", NIGHT)
