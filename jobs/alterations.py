"""What other tools did to a table of predictions after a publication, so that readers see something else.

By Delta's own log: whoever adds or removes a file says whether rows change with that (`dataChange` in the protocol's
"Add File and Remove File"), which OPTIMIZE and the like deny. Commits of ours name their attempt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobs.table import ANY, ATTEMPT, LOG, PARTITION, actions_in

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deltalake import DeltaTable

    from jobs.storage import Place
    from jobs.table import Publication


class Alterations:
    """The table that lies at `path`, as it was opened, with its commits, newest first.

    They are read as far back as is asked for, once.
    """

    def __init__(self, table: DeltaTable, path: Place, commits: Iterable[dict[str, Any]]) -> None:
        self._path = path
        self._commits = iter(commits)
        self._version = table.version()
        self._found: list[tuple[int, str, set[str]]] = []
        self._read_to = self._version + 1

    def of(self, there: Publication) -> str:
        """Why readers may not see what was published, as a sentence; nothing when they do."""
        since = there.table_version or 0
        if since > self._version:  # published just now
            return ""
        while self._read_to > since + 1:
            commit = next(self._commits)
            self._read_to = int(commit["version"])
            if ATTEMPT not in commit:
                self._found.append((self._read_to, str(commit.get("operation")), touched(self._path, self._read_to)))
        for version, operation, changed in self._found:
            if version > since and not changed.isdisjoint({there.partition, ANY}):
                return f"Another tool changed it after it was published, with {operation} in table version {version}."
        return ""


def touched(path: Place, version: int) -> set[str]:
    """The partitions whose rows a commit to the table at `path` changed."""
    commit = actions_in(path / LOG / f"{version:020d}.json", path)
    actions = [action for line in commit for action in line.items()]
    files = [about for kind, about in actions if kind in {"add", "remove"}]
    return {_partition_of(about) for about in files if about["dataChange"]}


def _partition_of(about: dict[str, Any]) -> str:
    """The partition of a file that was added or removed; who removes one need not name it, but for the folder."""
    named = (about.get("partitionValues") or {}).get(PARTITION)
    folder, equals, key = about["path"].split("/")[0].partition("=")
    return str(named or (key if (folder, equals) == (PARTITION, "=") else ANY))
