"""Promotions at the same moment: one wins, the others are told, and there is one in production at every instant."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import pytest
from chaos.children import fork_server
from registry.desk import FAR, NIGHT, asked, decision_on
from registry.moving import Place, race, registered, start
from tally import TALLY, chosen

from model_registry.artifacts import digest_of, verified
from model_registry.errors import ChampionMoved, Misconfigured
from model_registry.ledger import Ledger
from model_registry.memory_store import MemoryStore
from model_registry.metric_gate import Action, Decision
from model_registry.promotion import Registry
from model_registry.requests import Outcome
from model_registry.resolution import resolve
from model_registry.store import NewVersion, RegistryStore, Stage, Version
from model_registry.timeline import Kind

ROUNDS = chosen("ROUNDS", 200)


def _race(stores: list[RegistryStore], url: str, candidates: list[Version], champion: Version | None) -> list[str]:
    """What becomes of candidates that are promoted at once, each by a registry of its own as in another process."""
    start = threading.Barrier(len(candidates))

    def promote(store: RegistryStore, candidate: Version) -> str:
        registry = Registry(store, Ledger(url))
        decision = decision_on(candidate, champion)
        start.wait()
        try:
            return str(registry.promote(decision, asked()).outcome)
        except ChampionMoved as error:
            return "moved" if str(error).startswith(f"{candidate} was judged against") else str(error)
        finally:
            registry.ledger.close()

    with ThreadPoolExecutor(len(candidates)) as pool:
        return sorted(pool.map(promote, stores, candidates))


def _champion(store: RegistryStore, url: str, model: str) -> Version:
    registry = Registry(store, Ledger(url))
    found = resolve(registry, model, "production", FAR)
    registry.ledger.close()
    return found


class UnhurriedStore(MemoryStore):
    """The store in memory, with time enough between a question and a move for another to come between."""

    def evidence(self, version: Version) -> Decision | None:
        threading.Event().wait(0.005)
        return super().evidence(version)


@pytest.mark.parametrize("count", [2, 8])
def test_of_candidates_promoted_at_once_exactly_one_wins(ledger_url: str, model: str, count: int) -> None:
    store, champion = UnhurriedStore(), None
    for number in range(4):
        new = NewVersion(model, "", "s", f"round {number}", NIGHT, NIGHT, "mlflow", "/nowhere")
        candidates = [store.register(replace(new, digest=f"{number}-{n}")) for n in range(count)]
        for candidate in candidates:
            store.attach(decision_on(candidate))
        outcomes = _race([store] * count, ledger_url, candidates, champion)
        assert outcomes == ["moved"] * (count - 1) + ["promoted"]
        champion = _champion(store, ledger_url, model)
        assert champion in candidates
        assert store.alias(model, Stage.production) == champion.number


def test_the_same_candidate_promoted_at_once_is_recorded_once(ledger_url: str, model: str) -> None:
    store = UnhurriedStore()
    candidate = store.register(NewVersion(model, "d", "s", "p", NIGHT, NIGHT, "mlflow", "/nowhere"))
    store.attach(decision_on(candidate))
    outcomes = _race([store] * 4, ledger_url, [candidate] * 4, None)
    assert outcomes == ["promoted", "unchanged", "unchanged", "unchanged"]
    ledger = Ledger(ledger_url)
    with ledger.reading() as session:
        assert len(session.history(model)) == 1
    ledger.close()


class Watch(threading.Thread):
    """Looks at alias, ledger and legacy stage all the time, and keeps what should never be seen."""

    def __init__(self, room: Any, place: Place) -> None:
        super().__init__(daemon=True)
        self.room, self.place, self.over = room, place, threading.Event()
        self.looks, self.wrong = 0, list[str]()

    def run(self) -> None:
        from model_registry.mlflow_store import MlflowStore

        store, ledger = MlflowStore(self.place.uri), Ledger(self.place.ledger)
        while not self.over.is_set():
            alias = store.alias(self.place.model, Stage.production)
            found = self.room.client.search_model_versions(f"name='{self.place.model}'", max_results=10_000)
            legacy = [v.version for v in found if v.current_stage == "Production"]
            with ledger.reading() as session:
                recorded = {p.version for p in session.history(self.place.model, Stage.production)}
            if alias not in recorded:
                self.wrong.append(f"the alias pointed to {alias}, and the ledger had {recorded}")
            if len(legacy) > 1:
                self.wrong.append(f"{legacy} were in the legacy stage at once")
            self.looks += 1
            time.sleep(0.005)
        ledger.close()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()

    def __enter__(self) -> Self:
        self.start()
        return self


def _race_in_processes(room: Any, place: Place, lanes: int, rounds: int, folder: Path) -> int:
    """Promoters that are processes, round after round; how often somebody looked, and what they saw was right."""
    first = registered(room, 1)[0]
    with place.registry() as registry:
        registry.promote(decision_on(first), asked())
    numbers = [version.number for version in registered(room, lanes * rounds)]
    candidates = [numbers[at : at + lanes] for at in range(0, len(numbers), lanes)]
    starting = fork_server().Barrier(lanes, timeout=120)
    said = [folder / f"lane-{lane}" for lane in range(lanes)]
    with Watch(room, place) as watch:
        running = [start(place, n, candidates, starting, said[n], target=race) for n in range(lanes)]
        for process in running:
            process.join()
    assert [process.exitcode for process in running] == [0] * lanes
    TALLY.faults += rounds
    TALLY.torn += len(watch.wrong)
    assert watch.wrong == []
    told = [[json.loads(line) for line in file.read_text().splitlines()] for file in said]
    champion = first.number
    for number, results in enumerate(zip(*told, strict=True)):
        assert {against for _, against, _ in results} == {champion}, f"round {number}"
        winners = [mine for mine, _, outcome in results if outcome == "promoted"]
        assert len(winners) == 1, f"round {number}: {results}"
        for mine, against, outcome in results:
            says = f"version {mine} was judged against version {against}, and the champion is now version {winners[0]}:"
            assert mine == winners[0] or says in outcome
        champion = winners[0]
    with place.registry() as registry, registry.ledger.reading() as session:
        history = session.history(place.model)
        assert session.noted_alias(place.model, Stage.production) == champion
    assert [p.version for p in history][-1] == champion
    assert (len(history), len(told[0])) == (rounds + 1, rounds)
    assert all(after.replaces == before.version for before, after in pairwise(history))
    found = room.client.search_model_versions(f"name='{place.model}'", max_results=10_000)
    assert [int(v.version) for v in found if v.current_stage == "Production"] == [champion]
    assert room.store.alias(place.model, Stage.production) == champion
    return watch.looks


@pytest.mark.parametrize(("lanes", "rounds"), [(2, 4), (8, 2)])
def test_of_processes_that_promote_at_once_one_wins(
    database_room: Any, place: Place, tmp_path: Path, lanes: int, rounds: int
) -> None:
    assert _race_in_processes(database_room, place, lanes, rounds, tmp_path) > 3


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("lanes", [2, 8])
def test_of_processes_that_promote_at_once_one_wins_every_time(
    database_room: Any, place: Place, tmp_path: Path, lanes: int
) -> None:
    with TALLY.run():
        looks = _race_in_processes(database_room, place, lanes, ROUNDS, tmp_path)
    print(f"{lanes} promoters, {ROUNDS} rounds, {database_room.kind}: looked at {looks} times")  # noqa: T201
    assert looks > ROUNDS


def _night(number: int) -> Any:
    at = NIGHT + timedelta(days=number)
    return asked(at, recorded_at=at)


def test_the_whole_way_through_mlflow(sqlite_room: Any, tmp_path: Path) -> None:
    room, registry = sqlite_room, Registry(sqlite_room.store, Ledger(f"sqlite:///{tmp_path}/ledger.db"))

    def retrain(content: str, passed: bool) -> Version:
        new = room.new(content)
        version = room.store.register(replace(new, digest=digest_of(Path(new.artifact_uri.removeprefix("file://")))))
        room.store.attach(decision_on(version, passed=passed), "<p>a page</p>")
        return version

    first, second, third = retrain("one", passed=True), retrain("two", passed=True), retrain("three", passed=False)
    decided = decision_on(first)
    assert [registry.promote(decided, _night(0)).outcome for _ in range(2)] == [Outcome.promoted, Outcome.unchanged]
    staged = replace(_night(1), stage=Stage.staging)
    decided = decision_on(second, first)
    assert registry.promote(decided, staged).outcome is Outcome.staged
    assert room.store.alias(room.model, Stage.production) == 1
    assert registry.promote(decided, _night(1)).outcome is Outcome.promoted
    assert registry.promote(decision_on(third, second, Action.keep), _night(2)).outcome is Outcome.kept
    late = decision_on(retrain("four", passed=True), first)
    with pytest.raises(ChampionMoved, match="judged against version 1, and the champion is now version 2"):
        registry.promote(late, _night(2))

    assert resolve(registry, room.model, "as-of", NIGHT) == first
    champion = resolve(registry, room.model, "production", NIGHT + timedelta(days=1))
    assert champion == second
    assert '"two"' in (verified(room.store, champion, tmp_path / "cache") / "coefficients.json").read_text()

    room.client.set_registered_model_alias(room.model, "production", "1")  # in MLflow's own pages
    assert registry.champion(room.model, FAR) == first
    room.client.set_registered_model_alias(room.model, "production", "3")
    with pytest.raises(Misconfigured, match=r"by hand to version 3, .*: point it back to version 1"):
        registry.champion(room.model, FAR)
    with registry.ledger.reading() as session:
        moves = [(p.version, p.stage, p.kind) for p in session.history(room.model)]
    assert moves == [
        (1, Stage.production, Kind.promotion),
        (2, Stage.staging, Kind.challenge),
        (2, Stage.production, Kind.promotion),
        (1, Stage.production, Kind.external),
    ]
    registry.ledger.close()
