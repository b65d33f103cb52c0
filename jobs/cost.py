"""What a version costs: scoring latency and load time as ratios to a fixed reference in the same run, and its size.

Seconds say as much about the machine and its neighbours as about a version. So every repeat also times a reference
that never changes, between the two that are measured, and only the medians' ratio is judged. What is timed is processor
time of this process, held to one thread: it does not grow while another process has the core.

How repeatable, on two cores, quiet and beside four processes that sort and allocate: the ratios of 28 measurements
spread by 2-8 % around their median (the worst by 23 %), and the busy median was up to 12 % off the quiet one, while
load_seconds grew threefold. So a rule on a ratio needs room: less than a quarter would judge noise.
"""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.errors import Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pandas as pd

    from jobs.predictor import Predictor

ROWS = 1000
REPEATS = 25
FEWEST = 5
LONGEST_SECONDS = 30.0
REFERENCE_SEED = 20130101
REFERENCE_ROWS = 20_000
CACHES = 4_000_000  # float64 numbers: more than caches hold


@dataclass(frozen=True)
class Cost:
    """`latency_ratio` is processor time for 1000 rows over that of the reference, `load_ratio` that of a load.

    `artifact_mb` counts all files of the version in 10**6 bytes, `load_seconds` is the median load by the clock, and
    `repeats` says how many of each were timed.
    """

    latency_ratio: float
    artifact_mb: float
    load_ratio: float
    load_seconds: float
    repeats: int

    def sentence(self) -> str:
        """The cost for a person."""
        return (
            f"1000 rows cost {self.latency_ratio:.3g} and a load {self.load_ratio:.3g} times the reference "
            f"({self.load_seconds:.2g} s); the files are {self.artifact_mb:.3g} MB."
        )


def reference() -> float:
    """The fixed work that costs are measured in: a table of 20,000 rows is made, grouped by a text, and summed.

    It is seeded, takes no input, and knows nothing of the version. It touches code and memory as scoring does, so that
    busy neighbours slow both alike (measured: a loop over arrays alone let a ratio grow by 75 %). A change of it, or of
    pandas, changes the unit of every ratio: compare ratios of one run only.
    """
    import pandas as pd

    random = np.random.default_rng(REFERENCE_SEED)
    words = random.integers(0, 50, REFERENCE_ROWS).astype(str).astype(object)
    table = pd.DataFrame({"word": words, "value": random.random(REFERENCE_ROWS)})
    return float(table.groupby("word")["value"].sum().sum() + np.exp(table["value"]).sum())


def measure_cost(load: Callable[[], Predictor], files: Path, features: pd.DataFrame) -> Cost:
    """The cost of the version in the folder `files`, on the first 1000 of the treated rows `features` (or repeated).

    `load` must read the version anew at each call, so not through a cache. Raises Misconfigured when it does not, when
    there are no rows, and when the pipeline cannot score them.
    """
    from threadpoolctl import threadpool_limits

    if not len(features):
        raise Misconfigured("There are no rows to time the scoring on: lengthen training.holdout.")
    rows = features.iloc[np.resize(np.arange(len(features)), ROWS)].reset_index(drop=True)
    with threadpool_limits(limits=1), _without_collector():
        predictor = load()
        if predictor.pipeline is load().pipeline:
            raise Misconfigured("The load of a version cannot be timed through a cache: read its files each time.")
        times = _times({"load": load, "score": lambda: predictor.score(rows), "reference": reference})
    unit = median(cpu for cpu, _ in times["reference"])
    return Cost(
        latency_ratio=median(cpu for cpu, _ in times["score"]) / unit,
        artifact_mb=sum(path.stat().st_size for path in files.rglob("*") if path.is_file()) / 1e6,
        load_ratio=median(cpu for cpu, _ in times["load"]) / unit,
        load_seconds=median(wall for _, wall in times["load"]),
        repeats=len(times["score"]),
    )


def _times(work: dict[str, Callable[[], Any]]) -> dict[str, list[tuple[float, float]]]:
    """Processor and clock seconds of each, in turns, after one turn that does not count.

    A slow version gets fewer turns: no new one begins after LONGEST_SECONDS, but there are at least FEWEST.
    """
    for do in work.values():
        do()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in work}
    end = time.perf_counter() + LONGEST_SECONDS
    for turn in range(REPEATS):
        if turn >= FEWEST and time.perf_counter() > end:
            break
        for name, do in work.items():
            np.ones(CACHES).sum()  # each begins with cold caches, on a quiet machine as on a busy one
            cpu, wall = time.process_time(), time.perf_counter()
            do()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return times


@contextmanager
def _without_collector() -> Iterator[None]:
    """No garbage collection meanwhile: it would be charged to whoever happens to run."""
    on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
