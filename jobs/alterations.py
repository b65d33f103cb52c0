"""What other tools did to a table of predictions after a publication, so that readers see something else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from jobs.storage import reaching
from jobs.table import LOG, PARTITION

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deltalake import DeltaTable

    from jobs.storage import Place
    from jobs.table import Publication

HARMFUL = {"DELETE", "MERGE", "RESTORE", "TRUNCATE", "UPDATE"}
"""Operations after which rows are others, as Delta's log names them; OPTIMIZE and the like only move rows."""


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
        self._rows = _rows(table)

    def of(self, there: Publication) -> str:
        """Why readers may not see what was published, as a sentence; nothing when they do."""
        since = there.table_version or 0
        if since > self._version:  # published just now
            return ""
        while self._read_to > since + 1:
            commit = next(self._commits)
            self._read_to = int(commit["version"])
            operation = str(commit.get("operation", ""))
            if operation in HARMFUL:
                self._found.append((self._read_to, operation, self._touched(self._read_to)))
        for version, operation, touched in self._found:
            if version > since and there.partition in touched:
                return f"Another tool changed it after it was published, with {operation} in table version {version}."
        rows = self._rows.get(there.partition, 0)
        if rows is not None and rows != there.rows_scored:
            return (
                f"Readers see {rows:,} rows of it, and {there.rows_scored:,} were published: another tool wrote there."
            )
        return ""

    def _touched(self, version: int) -> set[str]:
        """The partitions of which a commit added or removed files."""
        with reaching(self._path):
            text = (self._path / LOG / f"{version:020d}.json").read_text(encoding="utf-8")
        actions = [action for line in text.splitlines() for action in json.loads(line).items()]
        files = [about["path"] for kind, about in actions if kind in {"add", "remove"}]
        return {file.split("/")[0].removeprefix(f"{PARTITION}=") for file in files}


def _rows(table: DeltaTable) -> dict[str, int | None]:
    """The rows of each partition by the log; None where a file of it does not say."""
    actions = pa.table(table.get_add_actions(flatten=True))
    found: dict[str, int | None] = {}
    if not len(actions):
        return found
    for key, rows in zip(
        actions[f"partition.{PARTITION}"].cast(pa.string()).to_pylist(), actions["num_records"].to_pylist(), strict=True
    ):
        before = found.get(key, 0)
        found[key] = None if rows is None or before is None else before + rows
    return found
