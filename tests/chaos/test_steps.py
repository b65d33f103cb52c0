"""A fault at every named step, on every engine: the job is run again, and nothing shows."""

import random
import signal

import pytest
from chaos.children import JOBS
from chaos.world import ENGINES, World, on
from tally import CLUSTER_SEEDS, SEED, SEEDS

from jobs.faults import VARIABLE
from jobs.steps import SCORE_STEPS

IN_A_WORKER = ("score:read", "score:written", "score:recorded")
MOST_TIMES = {
    "local": 5,
    "dask": 3,
    "dask-threads": 5,
    "spark": 3,
}  # one of two workers comes that far with six fragments
ENDED = {0, 1, -signal.SIGKILL}  # 0: the engine has done the task again by itself


FEW = [
    *(("local", step, fault, 0) for step in ("score:written", "publish:committed") for fault in ("kill", "fail")),
    ("local", "publish:prepared", "full", 0),
    ("local", "publish:rejected", "fail", 0),
    ("local", "plan:kept", "kill", 0),
    ("dask", "score:recorded", "kill", 0),
]
ALL = [
    pytest.param(engine, step, fault, SEED + seed, marks=pytest.mark.chaos)
    for engine in ENGINES
    for step in SCORE_STEPS
    for fault in ("kill", "fail", "full")
    for seed in range(SEEDS if engine == "local" else CLUSTER_SEEDS)
    if engine == "local" or step.startswith("score:")  # the others know nothing of engines
]


@pytest.mark.parametrize(("engine", "step", "fault", "seed"), [*FEW, *ALL])
def test_a_fault_at_a_step(world: World, engine: str, step: str, fault: str, seed: int) -> None:
    chance = random.Random(f"{step} {fault} {seed}")
    times = chance.randint(1, MOST_TIMES[engine]) if step in IN_A_WORKER else 1
    job = step.partition(":")[0]
    with world.round(f"{engine} {step} {fault} seed {seed}") as run:
        for each in JOBS:
            about = on(engine)
            if each == job:
                about[VARIABLE] = f"{step}*{times}={fault}"
            codes = world.task(each, run, **about)
            if each == job:
                assert codes[0] in (ENDED if step in IN_A_WORKER else ENDED - {0})
                assert codes[0] != 0 or engine != "local"
    world.tally.faults += 1
    assert not world.orphans()
    world.renew_sometimes()
