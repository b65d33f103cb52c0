"""What the suites of faults have done and found, all together: the closing line of `make chaos`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Tally:
    """Counts of what was done to runs, and of what went wrong; `notes` say what it was."""

    faults: int = 0
    torn: int = 0
    lost: int = 0
    duplicates: int = 0
    converged: int = 0
    runs: int = 0
    stale: int = 0
    reads: int = 0
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def run(self) -> Iterator[None]:
        """A run that has converged when the block ends without an error."""
        self.runs += 1
        yield
        self.converged += 1

    def well(self) -> bool:
        """Whether every promise held."""
        return self.torn + self.lost + self.duplicates + self.stale == 0 and self.converged == self.runs

    def sentence(self) -> str:
        """The closing line."""
        return (
            f"{self.faults} faults, {self.torn} torn reads, {self.lost} lost rows, {self.duplicates} duplicates, "
            f"{self.converged} of {self.runs} converged, {self.stale} stale publications"
        )


TALLY = Tally()


def chosen(name: str, default: int) -> int:
    """A number that the caller of `make chaos` may choose, like `KILLS`."""
    return int(os.environ.get(f"CHAOS_{name}") or default)


SEED = chosen("SEED", 1)
SEEDS = chosen("SEEDS", 20)
CLUSTER_SEEDS = chosen("CLUSTER_SEEDS", 2)
AIRFLOW_RUNS = chosen("AIRFLOW_RUNS", 2)
KILLS = chosen("KILLS", 1000)
ROUNDS = chosen("ROUNDS", 100)
