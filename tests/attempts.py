"""Attempts to publish that meet, and jobs that die of a fault in a process of their own."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from commands import lamplighter

from jobs.context import JobContext
from jobs.errors import Superseded
from jobs.faults import VARIABLE
from jobs.publish import PublishResult, publish


def published_at_once(jobs: Sequence[JobContext]) -> list[PublishResult | Superseded]:
    """What becomes of each of some runs of a partition that are published at the same moment."""
    all_at_once = Barrier(len(jobs))

    def attempt(job: JobContext) -> PublishResult | Superseded:
        all_at_once.wait()
        try:
            return publish(job)
        except Superseded as error:
            return error

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(attempt, jobs))


def die_in(command: str, partition: str, fault: str) -> int:
    """Run a job of the toys in a process of its own that meets a fault; its exit code."""
    arguments = [command, "--model", "toys", "--partition", partition, "--run", "test"]
    environment = os.environ | {VARIABLE: fault}
    return lamplighter(*arguments, environment=environment).returncode
