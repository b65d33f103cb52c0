"""The seam between this project and a model registry: what a version is, and the few things a registry must do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from model_registry.metric_gate import Decision


class Stage(StrEnum):
    """Where a version stands. Kept as an alias of the same name."""

    staging = "staging"
    production = "production"
    archived = "archived"


@dataclass(frozen=True)
class NewVersion:
    """What is registered: all that is known of a version before the registry gives it a number.

    `digest` pins its files, `signature` is the digest of its features and output, `target` of what it learned to
    predict, `partition` the one it was retrained for, `trained_until` the end (UTC) of the newest rows that it or the
    choice of it has seen. `snapshot` pins the rows that it was trained and evaluated on, `code` the model.yaml and
    pipeline.py; both are empty when it was registered before these were kept.
    """

    model: str
    digest: str
    signature: str
    partition: str
    trained_from: datetime
    trained_until: datetime
    mlflow_run_id: str
    artifact_uri: str
    snapshot: str = ""
    code: str = ""
    target: str = ""

    def numbered(self, number: int) -> Version:
        """The version under the number that the registry gave."""
        return Version(**vars(self), number=number)


@dataclass(frozen=True)
class Version(NewVersion):
    """One registered version of a model.

    `semver` is its semantic version, given when it is judged; `override` says until when and why it is in production
    although its gate is closed.
    """

    number: int = field(kw_only=True)
    semver: str = field(default="", compare=False, kw_only=True)
    override: str = field(default="", compare=False, kw_only=True)

    def __str__(self) -> str:
        return f"{self.model} version {self.number}"


class RegistryStore(Protocol):
    """A registry of versions. The authority on what a version is and where a stage's alias points."""

    def register(self, new: NewVersion) -> Version:
        """Register a version; the same digest for the same partition gives the version that is there already."""
        ...

    def version(self, model: str, number: int) -> Version:
        """The version. Raises UnknownVersion."""
        ...

    def versions(self, model: str) -> list[Version]:
        """All versions of a model in ascending order; an unknown model has none."""
        ...

    def alias(self, model: str, stage: Stage) -> int | None:
        """The number that the stage's alias points to, or None."""
        ...

    def set_alias(self, model: str, stage: Stage, number: int) -> None:
        """Point the stage's alias (and the legacy stage, while there is one) to a version."""
        ...

    def drop_alias(self, model: str, stage: Stage) -> None:
        """Take the stage's alias away, if it is there."""
        ...

    def tag(self, version: Version, name: str, text: str) -> None:
        """Keep a fact (`semver`, `override`) with the version, where people see it and can search for it."""
        ...

    def attach(self, decision: Decision, page: str | None = None) -> None:
        """Keep a decision (and its HTML page) with its candidate; a later decision replaces it."""
        ...

    def evidence(self, version: Version) -> Decision | None:
        """The decision kept with the version, or None. Raises Misconfigured when it was changed since."""
        ...

    def fetch(self, version: Version, folder: Path) -> Path:
        """Bring the version's files below `folder` and return where they are. They are not verified yet."""
        ...

    def run_file(self, version: Version, name: str) -> str | None:
        """The text of a file that was logged with the version's run, or None when there is none. Not verified."""
        ...
