"""What every job is given: the spec, the partition, the settings, and the run that it belongs to."""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from jobs.errors import Misconfigured, disk_is_full, is_full_disk
from jobs.spec_file import code_digest, load_spec
from model_registry.codec import from_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.partition import Partition
    from jobs.plan import Plan
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from model_registry.promotion import Registry

log = logging.getLogger(__name__)
T = TypeVar("T")
COMMAND_LINE = "cli"


@dataclass(frozen=True)
class JobContext:
    """A job's surroundings. Jobs of one run hand their results on as JSON files in `folder`.

    What is done by a plan lies apart from what was done by any other one: `plan` is its id. `code` is the digest of
    what was there as the spec was about to be read.
    """

    spec: ModelSpec
    partition: Partition
    settings: Settings
    run: str = COMMAND_LINE
    plan: str = ""
    code: str = ""

    @classmethod
    def create(cls, settings: Settings, model: str, partition: str, run: str = COMMAND_LINE) -> JobContext:
        """Read the spec and the partition's key. Raises InvalidSpec and Misconfigured."""
        code = code_digest(settings.models, model)
        spec = load_spec(settings.models, model)
        return cls(spec, spec.source.calendar.parse(partition), settings, run, code=code)

    @property
    def folder(self) -> Path:
        """The folder of this run: the same run finds what its earlier jobs left, another run does not."""
        return self.settings.work / self.spec.model / self.partition.key / file_name(self.run)

    def under(self, plan: Plan) -> JobContext:
        """The same by a plan of this run, and by the spec that it was made with, whatever the spec says now."""
        if self.spec != plan.spec:
            log.warning(
                "The spec of %s is not the one that was planned with: this run goes on as planned; for the new one run "
                "it again from plan on.",
                plan.model,
            )
        return replace(self, spec=plan.spec, plan=plan.id)

    def file(self, step: str) -> Path:
        """Where the result of a step lies."""
        return self.folder / self.plan / f"{step}.json"

    def keep(self, step: str, result: object) -> None:
        """Leave the result of a step for the later jobs of this run. Raises Unavailable when the disk is full."""
        try:
            write_json(self.file(step), result)
        except OSError as error:
            raise (disk_is_full(self.folder) if is_full_disk(error) else error) from error

    def recall(self, step: str, kind: type[T]) -> T:
        """The result that an earlier job of this run left. Raises Misconfigured when there is none."""
        path = self.file(step)
        if not path.is_file():
            raise Misconfigured(
                f"The run {self.run!r} of {self.spec.model} {self.partition} has no result of `{step}` yet: run "
                f"`lamplighter {step} --model {self.spec.model} --partition {self.partition}` first."
            )
        try:
            return from_json(kind, path.read_text(encoding="utf-8"))
        except (ValidationError, UnicodeDecodeError):
            raise Misconfigured(
                f"{path.name} of the run {self.run!r} was written by another release, or is broken: run `lamplighter "
                f"{step}` again."
            ) from None

    def recalled(self, step: str, kind: type[T]) -> T | None:
        """The same, or None when no earlier job of this run has left it."""
        return self.recall(step, kind) if self.file(step).is_file() else None

    def seconds_since_plan(self) -> float:
        """How long ago the run's plan was made, waits between the jobs included."""
        return round(max(0.0, time.time() - (self.folder / "plan.json").stat().st_mtime), 3)

    def registry(self) -> Registry:
        """The registry that the settings name."""
        from jobs.absent import absent
        from jobs.registry import open_registry

        with absent("pyspark"):  # MLflow would load it for tables of Spark's, and no job hands it one
            return open_registry(self.settings)


def file_name(name: str) -> str:
    """A name as one of a file; names that had to be changed get a digest, so that they stay different."""
    safe = re.sub(r"[^A-Za-z0-9._+-]", "_", name)[:80]
    return safe if safe == name and name not in {".", ".."} else f"{safe}-{sha256(name.encode()).hexdigest()[:8]}"
