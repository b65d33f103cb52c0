"""Scoring partitions again, one after the other, without Airflow: what a roll back asks for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.context import JobContext
from jobs.errors import LamplighterError
from jobs.input_gate import input_gate
from jobs.output_gate import output_gate
from jobs.plan import plan
from jobs.publish import PublishResult, publish
from jobs.score import score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jobs.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rescored:
    """The partitions that were scored again, and published."""

    done: tuple[str, ...]

    def sentence(self) -> str:
        """The result for a person."""
        count = len(self.done)
        return f"{count} partition{' was' if count == 1 else 's were'} scored again."


def rescore(settings: Settings, model: str, partitions: Sequence[str], run: str, selector: str = "as-of") -> Rescored:
    """Score partitions, unless asked otherwise by the version in production for each; a failure stops no other one.

    Raises the first error, with the sentences of all, once every partition was tried.
    """
    done: list[str] = []
    failed: dict[str, LamplighterError] = {}
    for key in partitions:
        try:
            published = score_partition(JobContext.create(settings, model, key, run), selector)
        except LamplighterError as error:
            log.error("%s", error)  # noqa: TRY400 - the sentence says it all
            failed[key] = error
        else:
            log.info("%s", published.sentence())
            done.append(key)
    result = Rescored(tuple(done))
    if failed:
        faults = " ".join(f"{key} was not: {error}" for key, error in failed.items())
        raise type(next(iter(failed.values())))(f"{result.sentence()} {faults}")
    return result


def score_partition(job: JobContext, selector: str = "as-of") -> PublishResult:
    """The whole of plan, input gate, score, output gate and publish."""
    plan(job, selector)
    input_gate(job)
    score(job)
    output_gate(job)
    return publish(job)
