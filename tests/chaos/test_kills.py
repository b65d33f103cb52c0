"""Kills at random times, from outside: whatever was at work is run again, and nothing shows."""

import random
import time

import pytest
from chaos.children import JOBS
from chaos.world import World
from tally import KILLS, SEED

KILLS_A_ROUND = 5


@pytest.mark.timeout(0)
@pytest.mark.parametrize("wanted", [5, pytest.param(KILLS, marks=pytest.mark.chaos)])
def test_kills_at_random_times(world: World, wanted: int) -> None:
    usual = undisturbed(world)
    kills = 0
    while kills < wanted:
        what = f"{SEED} round {world.rounds}"
        kills += round_with_kills(world, random.Random(what), usual, what)
        world.renew_sometimes()


def undisturbed(world: World) -> dict[str, float]:
    """How long each job takes when nobody disturbs it."""
    seconds = {}
    with world.round("undisturbed") as run:
        for job in JOBS:
            began = time.monotonic()
            world.finish(run, [job])
            seconds[job] = time.monotonic() - began
    return seconds


def round_with_kills(world: World, chance: random.Random, usual: dict[str, float], what: str) -> int:
    """One delivery: some kills in jobs of chance at times of chance, each job run again; how many hit."""
    hits = 0
    killed = [chance.choice(JOBS) for _ in range(KILLS_A_ROUND)]
    with world.round(what) as run:
        for job in JOBS:
            for _ in range(killed.count(job)):
                child = world.child([job], run)
                child.wait(chance.uniform(0, usual[job] * 1.1))
                hits += child.kill()
            world.finish(run, [job])
    world.tally.faults += hits
    assert not world.orphans(), f"{what}: files that nobody will ever publish"
    return hits
