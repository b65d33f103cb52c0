"""Two runs of one partition at once: the result is that of one alone, and the loser says in one sentence who won."""

import random
import re

import pytest
from chaos.children import JOBS
from chaos.world import World
from tally import ROUNDS, SEED

WHO_WON = re.compile(
    r"^ERROR lamplighter: toys 2026-01-16 was published by version 1 in run '(round \d+)", re.MULTILINE
)
NOTHING_TO_DO = re.compile(r"were published by version 1 from the same input|are published already")


@pytest.mark.timeout(0)
@pytest.mark.parametrize("rounds", [4, pytest.param(ROUNDS, marks=pytest.mark.chaos)])
def test_two_runs_of_one_partition_at_once(world: World, rounds: int) -> None:
    told = 0
    for _ in range(rounds):
        chance = random.Random(f"{SEED} {world.rounds}")
        with world.round(f"SEED={SEED}: two at once") as run:
            children = [world.child(JOBS, run)]
            children[0].wait(chance.choice([0, 0, chance.uniform(0, 0.5)]))
            children.append(world.child(JOBS, f"{run} other"))
            codes = [child.wait() for child in children]
            said = [child.log.read_text() for child in children]
            assert sorted(codes) in ([0, 0], [0, 3]), f"they ended with {codes}"
            if 3 in codes:
                loser = codes.index(3)
                [winner] = WHO_WON.findall(said[loser])
                assert said[loser].count("ERROR") == 1
                assert winner.startswith(run)
                told += 1
            else:
                assert any(NOTHING_TO_DO.search(text) for text in said)
            assert not any("Traceback" in text for text in said)
        world.tally.faults += 1
        world.renew_sometimes()
    assert told > 0
