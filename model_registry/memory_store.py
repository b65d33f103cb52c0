"""The registry in memory: the twin of the real one, for tests and for trying things."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from model_registry.errors import UnknownVersion

if TYPE_CHECKING:
    from model_registry.metric_gate import Decision
    from model_registry.store import NewVersion, Stage, Version


class MemoryStore:
    """A `RegistryStore` that forgets everything when the process ends.

    `artifact_uri` must be a local folder; the other files of the run lie beside it.
    """

    def __init__(self) -> None:
        self._versions: dict[str, list[Version]] = {}
        self._aliases: dict[tuple[str, Stage], int] = {}
        self._evidence: dict[tuple[str, int], Decision] = {}

    def register(self, new: NewVersion) -> Version:
        """See `RegistryStore.register`."""
        known = self._versions.setdefault(new.model, [])
        for version in known:
            if (version.digest, version.partition) == (new.digest, new.partition):
                return version
        known.append(new.numbered(len(known) + 1))
        return known[-1]

    def version(self, model: str, number: int) -> Version:
        """See `RegistryStore.version`."""
        for version in self.versions(model):
            if version.number == number:
                return version
        raise UnknownVersion(f"{model} has no version {number}; registered are {len(self.versions(model))} versions.")

    def versions(self, model: str) -> list[Version]:
        """See `RegistryStore.versions`."""
        return list(self._versions.get(model, []))

    def alias(self, model: str, stage: Stage) -> int | None:
        """See `RegistryStore.alias`."""
        return self._aliases.get((model, stage))

    def set_alias(self, model: str, stage: Stage, number: int) -> None:
        """See `RegistryStore.set_alias`."""
        self._aliases[model, stage] = self.version(model, number).number

    def drop_alias(self, model: str, stage: Stage) -> None:
        """See `RegistryStore.drop_alias`."""
        self._aliases.pop((model, stage), None)

    def tag(self, version: Version, name: str, text: str) -> None:
        """See `RegistryStore.tag`."""
        known = self._versions[version.model]
        there = self.version(version.model, version.number)
        known[known.index(there)] = replace(there, **cast("Any", {name: text}))

    def attach(self, decision: Decision, page: str | None = None) -> None:  # noqa: ARG002 - only for people
        """See `RegistryStore.attach`."""
        self._evidence[decision.candidate.model, decision.candidate.number] = decision

    def evidence(self, version: Version) -> Decision | None:
        """See `RegistryStore.evidence`."""
        return self._evidence.get((version.model, version.number))

    def fetch(self, version: Version, folder: Path) -> Path:
        """See `RegistryStore.fetch`."""
        target = folder / f"{version.model}-{version.number}"
        shutil.copytree(version.artifact_uri, target, symlinks=True, dirs_exist_ok=True)
        return target

    def run_file(self, version: Version, name: str) -> str | None:
        """See `RegistryStore.run_file`."""
        path = Path(version.artifact_uri).parent / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
