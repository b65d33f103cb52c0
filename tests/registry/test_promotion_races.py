"""Promotions at the same moment, and the whole way once through a real MLflow."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from model_registry.artifacts import digest_of, verified
from model_registry.errors import ChampionMoved, Misconfigured
from model_registry.evidence import GateReport
from model_registry.ledger import Ledger
from model_registry.memory_store import MemoryStore
from model_registry.metric_gate import Action, Decision
from model_registry.promotion import END_OF_TIME, Outcome, Registry, Request, resolve
from model_registry.store import NewVersion, RegistryStore, Stage, Version

NIGHT = datetime(2013, 2, 8, tzinfo=UTC)
Reports = Callable[..., GateReport]


def _request(number: int = 0) -> Request:
    at = NIGHT + timedelta(days=number)
    return Request(Stage.production, at, "airflow", "a retrain", at)


def _race(
    stores: list[RegistryStore], url: str, candidates: list[Version], champion: Version | None, report: GateReport
) -> list[str]:
    """What becomes of candidates that are promoted at once, each by a registry of its own as in another process."""
    start = threading.Barrier(len(candidates))

    def promote(store: RegistryStore, candidate: Version) -> str:
        registry = Registry(store, Ledger(url))
        decision = Decision(candidate, champion, Action.promote if champion else Action.first, report)
        start.wait()
        try:
            return str(registry.promote(decision, _request()).outcome)
        except ChampionMoved as error:
            return "moved" if str(error).startswith(f"{candidate} was judged against") else str(error)
        finally:
            registry.ledger.close()

    with ThreadPoolExecutor(len(candidates)) as pool:
        return sorted(pool.map(promote, stores, candidates))


def _champion(store: RegistryStore, url: str, model: str) -> Version:
    registry = Registry(store, Ledger(url))
    found = resolve(registry, model, "production", END_OF_TIME)
    registry.ledger.close()
    return found


class UnhurriedStore(MemoryStore):
    """The store in memory, with time enough between a question and a move for another to come between."""

    def evidence(self, version: Version) -> GateReport | None:
        threading.Event().wait(0.005)
        return super().evidence(version)


@pytest.mark.parametrize("count", [2, 8])
def test_of_candidates_promoted_at_once_exactly_one_wins(
    ledger_url: str, model: str, report_of: Reports, count: int
) -> None:
    store, champion = UnhurriedStore(), None
    for number in range(4):
        new = NewVersion(model, "", "s", f"round {number}", NIGHT, NIGHT, "mlflow", "/nowhere")
        candidates = [store.register(replace(new, digest=f"{number}-{n}")) for n in range(count)]
        for candidate in candidates:
            store.attach(candidate, report_of())
        outcomes = _race([store] * count, ledger_url, candidates, champion, report_of())
        assert outcomes == ["moved"] * (count - 1) + ["promoted"]
        champion = _champion(store, ledger_url, model)
        assert champion in candidates
        assert store.alias(model, Stage.production) == champion.number


def test_the_same_candidate_promoted_at_once_is_recorded_once(ledger_url: str, model: str, report_of: Reports) -> None:
    store = UnhurriedStore()
    candidate = store.register(NewVersion(model, "d", "s", "p", NIGHT, NIGHT, "mlflow", "/nowhere"))
    store.attach(candidate, report_of())
    outcomes = _race([store] * 4, ledger_url, [candidate] * 4, None, report_of())
    assert outcomes == ["promoted", "unchanged", "unchanged", "unchanged"]
    ledger = Ledger(ledger_url)
    with ledger.reading() as session:
        assert len(session.history(model)) == 1
    ledger.close()


def test_at_once_in_mlflow_one_wins_and_one_is_in_the_legacy_stage(
    mlflow_room: Any, ledger_url: str, report_of: Reports
) -> None:
    from model_registry.mlflow_store import MlflowStore

    room, new, champion = mlflow_room, mlflow_room.new(), None
    stores: list[RegistryStore] = [room.store, MlflowStore(room.store._uri)]
    for number in range(2):
        candidates = [room.store.register(replace(new, partition=f"{number}-{n}")) for n in range(2)]
        for candidate in candidates:
            room.store.attach(candidate, report_of())
        assert _race(stores, ledger_url, candidates, champion, report_of()) == ["moved", "promoted"]
        champion = _champion(room.store, ledger_url, room.model)
        found = room.client.search_model_versions(f"name='{room.model}'")
        assert [int(v.version) for v in found if v.current_stage == "Production"] == [champion.number]


def test_the_whole_way_through_mlflow(sqlite_room: Any, tmp_path: Path, report_of: Reports) -> None:
    room, registry = sqlite_room, Registry(sqlite_room.store, Ledger(f"sqlite:///{tmp_path}/ledger.db"))

    def retrain(content: str, passed: bool) -> Version:
        new = room.new(content)
        version = room.store.register(replace(new, digest=digest_of(Path(new.artifact_uri.removeprefix("file://")))))
        room.store.attach(version, report_of(passed=passed, subject=str(version)), "<p>a page</p>")
        return version

    first, second, third = retrain("one", passed=True), retrain("two", passed=True), retrain("three", passed=False)
    decided = Decision(first, None, Action.first, report_of())
    assert [registry.promote(decided, _request(0)).outcome for _ in range(2)] == [Outcome.promoted, Outcome.unchanged]
    staged = replace(_request(1), stage=Stage.staging)
    decided = Decision(second, first, Action.promote, report_of())
    assert registry.promote(decided, staged).outcome is Outcome.staged
    assert room.store.alias(room.model, Stage.production) == 1
    assert registry.promote(decided, _request(1)).outcome is Outcome.promoted
    assert registry.promote(Decision(third, second, Action.keep, report_of()), _request(2)).outcome is Outcome.kept
    late = Decision(retrain("four", passed=True), first, Action.promote, report_of())
    with pytest.raises(ChampionMoved, match="judged against version 1, and the champion is now version 2"):
        registry.promote(late, _request(2))

    assert resolve(registry, room.model, "as-of", NIGHT) == first
    champion = resolve(registry, room.model, "production", NIGHT + timedelta(days=1))
    assert champion == second
    assert '"two"' in (verified(room.store, champion, tmp_path / "cache") / "coefficients.json").read_text()

    room.client.set_registered_model_alias(room.model, "production", "1")  # in MLflow's own pages
    assert registry.champion(room.model, END_OF_TIME) == first
    room.client.set_registered_model_alias(room.model, "production", "3")
    with pytest.raises(Misconfigured, match=r"by hand to version 3, .*: point it back to version 1"):
        registry.champion(room.model, END_OF_TIME)
    with registry.ledger.reading() as session:
        moves = [(p.version, p.stage, p.external) for p in session.history(room.model)]
    assert moves == [
        (1, Stage.production, False),
        (2, Stage.staging, False),
        (2, Stage.production, False),
        (1, Stage.production, True),
    ]
    registry.ledger.close()
