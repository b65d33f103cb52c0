"""Processes that move versions, to be killed or raced: real ones, forked from a server that has MLflow loaded."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos.children import fork_server
from registry.desk import FAR, asked, day, decision_on

from model_registry.errors import ChampionMoved, LamplighterError
from model_registry.store import Stage, Version

if TYPE_CHECKING:
    from collections.abc import Iterator

    from model_registry.promotion import Registry

MOVES = ("promote", "challenge", "override", "archive", "roll back")
LOOKS = ("champion", "production", "settle")


@dataclass(frozen=True)
class Place:
    """Where the registry of a model is."""

    uri: str
    ledger: str
    model: str

    @contextmanager
    def registry(self) -> Iterator[Registry]:
        """The registry, for a while."""
        from model_registry.ledger import Ledger
        from model_registry.mlflow_store import MlflowStore
        from model_registry.promotion import Registry

        registry = Registry(MlflowStore(self.uri), Ledger(self.ledger))
        try:
            yield registry
        finally:
            registry.ledger.close()


def carry_out(registry: Registry, model: str, what: str, number: int, against: int | None = None) -> object:
    """One move, or a look. `number` is the version to move, or to withdraw."""
    if what in LOOKS:
        looks = {"champion": lambda: registry.champion(model, FAR), "production": lambda: registry.production(model)}
        return looks.get(what, lambda: registry.settle(model))()
    now = datetime.now(UTC)
    wish = asked(now, recorded_at=now, id=f"{what} {number}")
    if what == "roll back":
        return registry.roll_back(model, wish, number)
    version = registry.store.version(model, number)
    if what == "archive":
        return registry.archive(version, replace(wish, stage=Stage.archived))
    if what == "challenge":
        wish = replace(wish, stage=Stage.staging)
    if what == "override":
        wish = replace(wish, until=FAR)
    return registry.promote(decision_on(version, registry.store.version(model, against) if against else None), wish)


def start(place: Place, *arguments: Any, fault: str | None = None, target: Any = None) -> Any:
    """A process that carries out a move, or whatever `target` does."""
    process = fork_server().Process(target=target or _move, args=(place, fault, *arguments), daemon=True)
    process.start()
    return process


def _move(place: Place, fault: str | None, what: str, number: int, against: int | None) -> None:
    from jobs.faults import VARIABLE, listen_for_faults

    warnings.simplefilter("ignore")
    if fault is not None:
        listen_for_faults({VARIABLE: fault})
    with place.registry() as registry:
        try:
            carry_out(registry, place.model, what, number, against)
        except LamplighterError as error:
            sys.exit(error.exit_code)


def keep_moving(place: Place, _fault: str | None, seed: int, versions: int, sign: Path) -> None:
    """Move versions about without an end, as the seed has it."""
    warnings.simplefilter("ignore")
    chance = random.Random(seed)
    with place.registry() as registry:
        sign.touch()
        while True:
            number = chance.randint(1, versions)
            try:
                champion = registry.production(place.model)
                against = champion.number if champion else None
                what = chance.choice(MOVES)
                carry_out(registry, place.model, what, (against or 1) if what == "roll back" else number, against)
            except LamplighterError:
                continue


def race(place: Place, _fault: str | None, lane: int, rounds: list[list[int]], starting: Any, said: Path) -> None:
    """Promote the lane's candidate of each round, all lanes at once, and write down what came of it."""
    warnings.simplefilter("ignore")
    with place.registry() as registry, said.open("w") as lines:
        for number in rounds:
            mine = registry.store.version(place.model, number[lane])
            champion = registry.champion(place.model, FAR)
            decision = decision_on(mine, champion)
            starting.wait()
            try:
                outcome = str(registry.promote(decision, asked(day(0), recorded_at=datetime.now(UTC))).outcome)
            except ChampionMoved as error:
                outcome = f"moved: {error}"
            lines.write(json.dumps([mine.number, champion.number if champion else None, outcome]) + "\n")
            lines.flush()
            starting.wait()


def killed(process: Any) -> bool:
    """Whether the process ended by a kill, once it has ended."""
    process.join(60)
    return process.exitcode == -signal.SIGKILL


def kill(process: Any) -> None:
    """End a process like a power cut."""
    os.kill(process.pid, signal.SIGKILL)
    process.join(60)


def registered(room: Any, count: int) -> list[Version]:
    """So many more versions of the room's model that passed their gate, all with the same files."""
    new = room.new()
    made = []
    for number in range(count):
        version = room.store.register(replace(new, partition=f"{new.mlflow_run_id}-{number}"))
        room.store.attach(decision_on(version))
        made.append(version)
    return made
