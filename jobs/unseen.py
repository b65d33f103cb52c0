"""The part of a holdout that neither model was trained on: only there may the two be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.dataset import training_window
from jobs.errors import Misconfigured
from jobs.snapshot import SNAPSHOT_FILE, Snapshot
from model_registry.codec import from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.context import JobContext
    from jobs.partition import Partition
    from model_registry.promotion import Registry
    from model_registry.store import Version


@dataclass(frozen=True)
class Unseen:
    """Partitions of the holdout, oldest first, and a sentence on why it is these."""

    partitions: tuple[Partition, ...]
    note: str


def unseen_partitions(job: JobContext, registry: Registry, candidate: Version, champion: Version | None) -> Unseen:
    """The partitions of this run's holdout that neither model was trained on.

    Raises Misconfigured when the candidate was trained on any of them, or the champion on all.
    """
    holdout = training_window(job.spec, job.partition).holdout
    trained = _trained_on(registry, candidate, holdout)
    if trained:
        raise Misconfigured(
            f"{candidate} was trained on {_named(trained)}, and the holdout of {job.partition} is {_named(holdout)}: "
            f"on rows that it knows no version can be judged. Evaluate it for a partition whose holdout is newer, or "
            f"retrain."
        )
    known = _trained_on(registry, champion, holdout) if champion is not None else []
    left = tuple(partition for partition in holdout if partition not in known)
    if not left:
        raise Misconfigured(
            f"{champion}, in production as of {job.partition}, was trained on the whole holdout of {_named(holdout)}: "
            f"there are no rows to compare on that it has not seen. Evaluate for a newer partition."
        )
    if known:
        lost = f"{champion} was trained on {_named(known)} of the holdout of {_named(holdout)}"
        return Unseen(left, f"{lost}: only the rows that neither has seen are judged.")
    return Unseen(
        left, "Neither was trained on any of these rows." if champion else "It was not trained on these rows."
    )


def _trained_on(registry: Registry, version: Version, holdout: Sequence[Partition]) -> list[Partition]:
    """The partitions that a version was trained on; all of its window when it has no snapshot to tell."""
    kept = registry.store.run_file(version, SNAPSHOT_FILE)
    if kept is None:
        return [p for p in holdout if version.trained_from <= p.start < version.trained_until]
    parts = {part.partition for part in from_json(Snapshot, kept).training}
    return [partition for partition in holdout if partition.key in parts]


def _named(partitions: Sequence[Partition]) -> str:
    count = len(partitions)
    return f"{partitions[0]}" if count == 1 else f"{partitions[0]} to {partitions[-1]} ({count} partitions)"
