"""Kill -9 at every named step, and at any moment: after the next command ledger and alias are both old or both new."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import tally
from registry.moving import LOOKS, MOVES, Place, carry_out, keep_moving, kill, killed, registered, start

from model_registry.errors import Rejected
from model_registry.promotion import Registry
from model_registry.steps import PROMOTION_STEPS
from model_registry.store import Stage
from model_registry.timeline import Kind, Promotion, current, standing

SEEDS = [f"{tally.SEED}-{number}" for number in range(tally.SEEDS)]
STEPS = list(PROMOTION_STEPS)
RECORDED = STEPS.index("promotion:recorded")
NEXT = (*LOOKS, "history", "promote", "the same", "roll back", "challenge", "archive")


class Scene:
    """A model in a real registry, whose versions are moved by processes that are killed."""

    def __init__(self, room: Any, place: Place) -> None:
        self.room, self.place = room, place
        with place.registry() as registry:
            self.first = self.fresh()
            carry_out(registry, place.model, "promote", self.first)
            carry_out(registry, place.model, "promote", self.fresh(), self.first)  # so that there is a way back

    def fresh(self) -> int:
        """A version that passed its gate and was never moved."""
        return registered(self.room, 1)[0].number

    def rows(self) -> list[Promotion]:
        with self.place.registry() as registry, registry.ledger.reading() as session:
            return session.history(self.place.model)

    def kill_at(self, step: str, what: str, number: int, against: int) -> None:
        assert killed(start(self.place, what, number, against, fault=f"{step}=kill")), f"never came to {step}"
        tally.TALLY.faults += 1

    def go_on(self, registry: Registry, what: str, was: tuple[str, int, int]) -> None:
        """The next command, whatever it is; it may be refused for reasons of its own."""
        model, champion = self.place.model, registry.store.alias(self.place.model, Stage.production)
        try:
            if what == "history":
                registry.settle(model)
            elif what == "the same":
                carry_out(registry, model, *was)
            else:
                number = self.fresh() if what in MOVES and what != "roll back" else champion or 0
                carry_out(registry, model, what, number, champion)
        except Rejected:
            pass

    def check(self) -> None:
        """Ledger and alias agree, in every stage, and nothing is half done."""
        now = datetime.now(UTC)
        model = self.place.model
        with self.place.registry() as registry, registry.ledger.reading() as session:
            rows = session.history(model)
            for stage in Stage:
                wanted = standing(rows, stage, now)
                assert registry.store.alias(model, stage) == wanted, stage
                assert session.noted_alias(model, stage) == wanted, stage
            for row in rows:
                assert row.kind in {Kind.archive, Kind.roll_back} or session.evidence(row.evidence or "") is not None
                assert row.kind is not Kind.external
        row = current([p for p in rows if p.stage is Stage.production], now)
        found = self.room.client.search_model_versions(f"name='{model}'")
        legacy = [int(v.version) for v in found if v.current_stage == "Production"]
        assert legacy == ([row.version] if row else [])
        overrides = {int(v.version) for v in found if v.tags.get("lamplighter.override")}
        assert overrides == ({row.version} if row and row.until else set())


@pytest.fixture
def scene(database_room: Any, place: Place) -> Iterator[Scene]:
    return Scene(database_room, place)


def _one_kill(scene: Scene, step: str, what: str, then: str) -> None:
    with scene.place.registry() as registry:
        found = registry.production(scene.place.model)
    assert found is not None
    was, rows = found.number, scene.rows()
    move = (what, was if what == "roll back" else scene.fresh(), was)
    scene.kill_at(step, *move)
    after = scene.rows()
    assert after[: len(rows)] == rows
    assert len(after) - len(rows) == (STEPS.index(step) >= RECORDED), "the row is there once it was committed"
    told = scene.room.store.alias(scene.place.model, Stage.production)
    if STEPS.index(step) < STEPS.index("alias:moved"):
        assert told == was
    with scene.place.registry() as registry:
        scene.go_on(registry, then, move)
    scene.check()
    if then == "the same":
        assert len(scene.rows()) == len(rows) + 1, "the same again is done once"
    elif then in (*LOOKS, "history"):
        assert scene.rows() == after
    with scene.place.registry() as registry:  # something to go back to the next time
        champion = registry.production(scene.place.model)
        carry_out(registry, scene.place.model, "promote", scene.fresh(), champion.number if champion else None)


@pytest.mark.parametrize("number", range(len(STEPS)), ids=STEPS)
def test_a_kill_at_a_step_leaves_both_old_or_both_new_after_the_next_command(scene: Scene, number: int) -> None:
    for order, what in enumerate(("promote", "override" if STEPS[number] == "promotion:checked" else "roll back")):
        _one_kill(scene, STEPS[number], what, NEXT[(number * 2 + order) % len(NEXT)])


@pytest.mark.chaos
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", STEPS)
def test_a_kill_at_a_step_with_any_next_command(scene: Scene, step: str, seed: str) -> None:
    chance = random.Random(f"{seed} {step}")
    movers = MOVES if step != "promotion:checked" else ("promote", "challenge", "override")
    for then in chance.sample(NEXT, 3):
        with tally.TALLY.run():
            _one_kill(scene, step, chance.choice(movers), then)


def _random_kill(scene: Scene, sign: Any, seed: str) -> None:
    chance = random.Random(seed)
    mover = start(scene.place, chance.random(), scene.first + 5, sign, target=keep_moving)
    began = time.monotonic()
    while not sign.exists():
        assert mover.is_alive(), f"the mover ended by itself with {mover.exitcode}"
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 1.5))
    assert mover.is_alive()
    kill(mover)
    tally.TALLY.faults += 1
    before = scene.rows()
    with scene.place.registry() as registry:
        scene.go_on(registry, chance.choice(LOOKS), ("", 0, 0))
    scene.check()
    assert scene.rows() == before
    sign.unlink()


@pytest.mark.parametrize("number", range(3))
def test_a_kill_at_any_moment_is_mended_by_the_next_command(scene: Scene, tmp_path: Any, number: int) -> None:
    registered(scene.room, 4)
    _random_kill(scene, tmp_path / "moving", f"short {number}")


@pytest.mark.chaos
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_any_moment_are_mended_by_the_next_command(scene: Scene, tmp_path: Any, seed: str) -> None:
    registered(scene.room, 4)
    for number in range(5):
        with tally.TALLY.run():
            _random_kill(scene, tmp_path / "moving", f"{seed}-{number}")
