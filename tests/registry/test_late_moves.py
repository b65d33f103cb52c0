"""A move of an alias that comes after others, or after its own end, is no move by hand."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from registry.desk import Desk, Shelf, day, open_registry, wait_for

from model_registry import steps
from model_registry.errors import Unavailable
from model_registry.requests import Outcome
from model_registry.store import Stage
from model_registry.timeline import Kind

PRODUCTION = Stage.production


@pytest.fixture(autouse=True)
def nobody_listens() -> Iterator[None]:
    yield
    steps.listen(None)


class Killed(BaseException):
    """Nothing is done after it."""


def cut_off(at: str) -> Callable[[str], None]:
    """The process ends at a step."""

    def met(name: str) -> None:
        if name == at:
            steps.listen(None)
            raise Killed

    return met


def test_a_promoter_whose_lock_is_lost_while_mlflow_answers_undoes_what_came_late(
    postgresql: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    url, shelf = postgresql(f"late_{uuid.uuid4().hex[:8]}"), Shelf()
    desk, other = Desk(open_registry(shelf, url)), Desk(open_registry(shelf, url))
    first, second, third = desk.candidate(), desk.candidate(), desk.candidate()
    desk.promote(first)
    set_alias = shelf.set_alias

    def slow(model: str, stage: Stage, number: int) -> None:
        if number == second.number and shelf.set_alias is slow:
            shelf.set_alias = set_alias  # type: ignore[method-assign]
            end_whoever_holds_a_lock(url)
            other.promote(third, second, day(2))
            assert other.alias() == third.number
        set_alias(model, stage, number)

    shelf.set_alias = slow  # type: ignore[method-assign]
    with pytest.raises(Unavailable, match="does not answer"):
        desk.promote(second, first, day(1))
    assert other.alias() == third.number
    assert "A move of flight_delays@production to version 2 came late: it points to version 3." in caplog.text
    assert other.production() == third.number
    assert {row.kind for row in other.history()} == {Kind.promotion}
    shelf.set_alias(desk.model, PRODUCTION, second.number)  # and now by hand
    assert other.production() == second.number
    assert other.history()[-1].kind is Kind.external
    for registry in (desk.registry, other.registry):
        registry.ledger.close()


def end_whoever_holds_a_lock(url: str) -> None:
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")


def test_who_has_lost_the_lock_before_moves_no_alias(postgresql: Callable[[str], str]) -> None:
    url, shelf = postgresql(f"lost_{uuid.uuid4().hex[:8]}"), Shelf()
    desk = Desk(open_registry(shelf, url))
    first, second = desk.candidate(), desk.candidate()
    desk.promote(first)

    def met(name: str) -> None:
        if name == "alias:locked":
            end_whoever_holds_a_lock(url)

    steps.listen(met)
    moved: list[int] = []
    shelf.set_alias = lambda model, stage, number: moved.append(number)  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        desk.promote(second, first, day(1))
    assert moved == []
    desk.registry.ledger.close()


@pytest.mark.parametrize("passed", [True, False])
def test_an_override_that_is_over_before_anybody_noted_its_alias_ends_as_any_other(desk: Desk, passed: bool) -> None:
    champion, candidate = desk.succession(1)[0], desk.candidate(passed=passed)
    until = datetime.now(UTC) + timedelta(seconds=0.5)
    steps.listen(cut_off("alias:moved"))
    with pytest.raises(Killed):
        desk.override(candidate, until, recorded_at=datetime.now(UTC))
    assert (desk.alias(), desk.noted()) == (candidate.number, champion.number)
    wait_for(until)
    assert desk.production() == champion.number
    assert desk.alias() == champion.number
    assert [row.kind for row in desk.history()] == [Kind.promotion, Kind.override]
    assert not desk.store.version(desk.model, candidate.number).override


@pytest.mark.parametrize("at", ["promotion:recorded", "alias:locked", "alias:moved", "alias:noted"])
def test_a_roll_back_that_was_cut_off_gives_its_answer_when_the_same_request_comes_again(desk: Desk, at: str) -> None:
    desk.succession(2)
    now = datetime.now(UTC)
    steps.listen(cut_off(at))
    with pytest.raises(Killed):
        desk.roll_back(at=now, id="run 1")
    again = desk.roll_back(at=now, id="run 1")
    assert (again.outcome, again.withdrawn) == (Outcome.rolled_back, 2)
    assert again.version is not None
    assert again.version.number == desk.production() == 1
    assert again.sentence.endswith("version 2 is withdrawn (scores are off).")
    assert len(desk.history()) == 3
    other = desk.roll_back(at=now, id="run 2")
    assert other.outcome is Outcome.unchanged


def test_a_roll_back_to_nothing_gives_its_answer_again() -> None:
    shelf = Shelf()
    desk = Desk(open_registry(shelf))
    (only,) = desk.succession(1)
    shelf.delete(only)
    now = datetime.now(UTC)
    first = desk.roll_back(at=now, id="run 1")
    again = desk.roll_back(at=now, id="run 1")
    assert (first.outcome, first.version) == (again.outcome, again.version) == (Outcome.rolled_back, None)
    assert first.sentence == again.sentence
