"""Runs that are paused past their retry, and then go on: they never publish."""

import random

import pytest
from chaos.children import JOBS
from chaos.world import ENGINES, World, on
from tally import CLUSTER_SEEDS, SEED, SEEDS

from jobs.faults import VARIABLE
from jobs.steps import SCORE_STEPS
from jobs.table import predictions_path, publications

FEW = [("local", "score:written", 0), ("local", "publish:prepared", 1), ("local", "publish:committed", 2)]
ALL = [
    pytest.param(engine, step, SEED + seed, marks=pytest.mark.chaos)
    for engine in ENGINES
    for step in SCORE_STEPS
    for seed in range(SEEDS if engine == "local" else CLUSTER_SEEDS)
    if engine == "local" or step.startswith("score:")  # the others know nothing of engines
]


@pytest.mark.parametrize(("engine", "step", "seed"), [*FEW, *ALL])
def test_a_run_that_is_paused_past_its_retry(world: World, engine: str, step: str, seed: int) -> None:
    """The zombie goes on with all its jobs; the retry is of the same run, or a run of its own."""
    chance = random.Random(f"{step} zombie {seed}")
    path = predictions_path(world.shop.settings, world.job.spec)
    with world.round(f"{engine} {step} zombie seed {seed}") as run:
        about = on(engine) | {VARIABLE: f"{step}=stop"}
        zombie = world.child(JOBS, run, **about)
        try:
            assert zombie.paused_or_over(), "it was not paused"
            world.finish(run if chance.random() < 0.5 else f"{run} again")
            before = len(publications(path))
            zombie.resume()
            code = zombie.wait()
        finally:
            zombie.kill()
        made = len(publications(path)) - before
        world.tally.stale += made
        assert not made, "the zombie has published"
        assert code in {0, 1, 3}, f"the zombie ended with {code}"
        if code == 3:
            assert "nothing was published twice" in zombie.log.read_text()
        if step == "publish:prepared":
            assert code in {0, 3}
    world.tally.faults += 1
    world.renew_sometimes()
