"""Done, but the caller was told that it failed: at every commit of the ledger and every change in MLflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
from registry.desk import FAR, NIGHT, Desk, asked, day, decision_on
from registry.moving import Place, registered
from requests.exceptions import ConnectionError as NoConnection

from model_registry.errors import Unavailable
from model_registry.ledger import Ledger
from model_registry.promotion import Registry
from model_registry.requests import Outcome, PromotionResult
from model_registry.store import Stage
from model_registry.timeline import Kind

CHANGES = {
    "create_model_version",
    "create_registered_model",
    "delete_registered_model_alias",
    "log_text",
    "set_model_version_tag",
    "set_registered_model_alias",
    "transition_model_version_stage",
}


class Liar:
    """Lets everything be done, and says of the n-th change that it failed."""

    def __init__(self, registry: Registry, number: int) -> None:
        self.registry, self.number, self.count, self.lied = registry, number, 0, False

    def after(self, work: Callable[..., Any], error: Exception) -> Callable[..., Any]:
        def lie(*arguments: Any, **named: Any) -> Any:
            result = work(*arguments, **named)
            self.count += 1
            if self.count == self.number:
                self.lied = True
                raise error
            return result

        return lie

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Every commit and every change in MLflow passes through here, for a while."""
        store: Any = self.registry.store
        engine = self.registry.ledger._engine
        client, commit = store._client, engine.dialect.do_commit
        lost = engine.dialect.loaded_dbapi.OperationalError("the connection was lost")
        engine.dialect.do_commit = self.after(commit, lost)  # type: ignore[method-assign]
        store._client = _Through(client, self)
        try:
            yield
        finally:
            store._client = client
            engine.dialect.do_commit = commit  # type: ignore[method-assign]


class _Through:
    """A client whose changes pass through the liar."""

    def __init__(self, client: Any, liar: Liar) -> None:
        self._client, self._liar = client, liar

    def __getattr__(self, name: str) -> Any:
        work = getattr(self._client, name)
        return self._liar.after(work, NoConnection("reset by peer")) if name in CHANGES else work


def _promote(desk: Desk, first: int, second: int) -> PromotionResult:
    store = desk.registry.store
    versions = [store.version(desk.model, number) for number in (second, first)]
    return desk.registry.promote(decision_on(*versions), asked(day(1), id="nightly"))


def _challenge(desk: Desk, first: int, second: int) -> PromotionResult:
    version = desk.registry.store.version(desk.model, second)
    return desk.registry.promote(decision_on(version), asked(day(1), Stage.staging, id="nightly"))


def _override(desk: Desk, first: int, second: int) -> PromotionResult:
    return desk.override(desk.registry.store.version(desk.model, second), FAR, day(1), id="nightly")


def _archive(desk: Desk, first: int, second: int) -> PromotionResult:
    return desk.archive(desk.registry.store.version(desk.model, second))


def _roll_back(desk: Desk, first: int, second: int) -> PromotionResult:
    return desk.roll_back(second)


MOVES = {
    "promote": (_promote, Kind.promotion, Stage.production, 2, {Outcome.promoted}),
    "challenge": (_challenge, Kind.challenge, Stage.staging, 2, {Outcome.staged}),
    "override": (_override, Kind.override, Stage.production, 2, {Outcome.promoted}),
    "archive": (_archive, Kind.archive, Stage.archived, 2, {Outcome.archived, Outcome.unchanged}),
    "roll back": (_roll_back, Kind.roll_back, Stage.production, 1, {Outcome.rolled_back, Outcome.unchanged}),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_that_was_done_is_not_done_twice_and_gets_the_answer_that_was_lost(
    database_room: Any, place: Place, name: str
) -> None:
    move, kind, stage, number, outcomes = MOVES[name]
    lies = 0
    while _is_lied_to(database_room, place, lies + 1, move, kind, stage, number, outcomes):
        lies += 1
        database_room = replace(database_room, model=f"{place.model}_{lies}")
    assert lies >= 4, "two commits of the ledger, the alias and the legacy stage at least"


def _is_lied_to(
    room: Any,
    place: Place,
    at: int,
    move: Callable[..., PromotionResult],
    kind: Kind,
    stage: Stage,
    number: int,
    outcomes: set[Outcome],
) -> bool:
    with replace(place, model=room.model).registry() as registry:
        desk = Desk(registry, room.model)
        first, second = registered(room, 2)
        registry.promote(decision_on(first), asked(NIGHT))
        if kind is Kind.roll_back:
            registry.promote(decision_on(second, first), asked(day(1)))
        before = desk.history()
        liar = Liar(registry, at)
        with liar.at_work():
            try:
                move(desk, first.number, second.number)
            except Unavailable:
                assert liar.lied
        assert move(desk, first.number, second.number).outcome in outcomes
        after = desk.history()
        assert [(p.kind, p.stage) for p in after[len(before) :]] == [(kind, stage)]
        assert desk.alias(stage) == desk.noted(stage) == number
        found = room.client.search_model_versions(f"name='{room.model}'")
        champion = desk.production()
        assert [int(v.version) for v in found if v.current_stage == "Production"] == [champion]
        shown = [int(v.version) for v in found if v.tags.get("lamplighter.override")]
        assert shown == ([number] if kind is Kind.override else [])
        return liar.lied


def test_a_registration_and_its_evidence_are_not_made_twice(sqlite_room: Any, tmp_path: Any) -> None:
    place = Place(sqlite_room.store._uri, f"sqlite:///{tmp_path}/ledger.db", sqlite_room.model)
    at, lied = 0, True
    while lied:
        at += 1
        room = replace(sqlite_room, model=f"{sqlite_room.model}_{at}")
        new = room.new()

        def judge(registry: Registry, new: Any = new) -> Any:
            version = registry.store.register(new)
            decision = registry.name(decision_on(version), improved=False)
            registry.store.attach(decision)
            return decision

        with replace(place, model=room.model).registry() as registry:
            liar = Liar(registry, at)
            with liar.at_work():
                try:
                    judge(registry)
                except Unavailable:
                    assert liar.lied
            decision = judge(registry)
            (version,) = registry.store.versions(room.model)
            assert (version.number, version.semver) == (1, "1.0.0")
            assert registry.store.evidence(version) == decision
            lied = liar.lied
    assert at > 6


@pytest.mark.parametrize("at", range(1, 5))
def test_an_alias_moved_by_hand_is_recorded_once(sqlite_room: Any, tmp_path: Any, at: int) -> None:
    place = Place(sqlite_room.store._uri, f"sqlite:///{tmp_path}/ledger.db", sqlite_room.model)
    with place.registry() as registry:
        desk = Desk(registry, place.model)
        first, second = registered(sqlite_room, 2)
        registry.promote(decision_on(first), asked(NIGHT))
        sqlite_room.client.set_registered_model_alias(place.model, "production", str(second.number))
        liar = Liar(registry, at)
        with liar.at_work():
            try:
                desk.production()
            except Unavailable:
                assert liar.lied
        assert desk.production() == second.number
        assert [p.kind for p in desk.history()] == [Kind.promotion, Kind.external]
        assert desk.noted() == second.number


def test_a_migration_that_was_done_is_not_done_twice(place: Place) -> None:
    lied = []

    def lie(connection: Any) -> None:
        connection.connection.dbapi_connection.commit()
        lied.append("the question and the migration")
        if len(lied) == 2:
            raise ConnectionResetError("reset by peer")

    sa.event.listen(sa.Engine, "commit", lie)
    try:
        with pytest.raises(ConnectionResetError):
            Ledger(place.ledger)
    finally:
        sa.event.remove(sa.Engine, "commit", lie)
    ledger = Ledger(place.ledger)
    with ledger.reading() as session:
        assert session.history(place.model) == []
    ledger.close()
    assert len(lied) == 2
