"""What follows the predictions: the tables of the rejected rows and of the shadow's scores, and the spec's database.

The commit of the predictions lists the files that follow it into tables of their own, each in a commit of its own. Cut
off in between, the same job finishes it when it runs again, or the next plan; so does whatever another tool did there.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pyarrow as pa

from jobs.alterations import touched
from jobs.commit import TRIES, busy, replace, transaction
from jobs.errors import Misconfigured, Rejected, is_full_disk
from jobs.fragments import is_there
from jobs.table import (
    ANY,
    ATTEMPT,
    PARTITION,
    ensure_table,
    newest_first,
    open_table,
    open_version,
    predictions_path,
    predictions_schema,
    publication_of,
    rejected_path,
    rejected_schema,
    shadow_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deltalake import DeltaTable

    from jobs.context import JobContext
    from jobs.fragments import WrittenFile
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.storage import Place
    from jobs.table import Publication

log = logging.getLogger(__name__)


class Follower:
    """A table that follows, as it was opened; None while there is none. Its log is read as far back as is asked for."""

    def __init__(self, path: Place, table: DeltaTable | None) -> None:
        self.path, self.table = path, table
        self._older = newest_first(table, path) if table is not None else iter(())
        self._known: list[tuple[str | None, set[str]]] = []

    @cached_property
    def _files(self) -> dict[str, set[str]]:
        return {} if self.table is None else _files_by_partition(self.table)

    def holds(self, there: Publication, files: Sequence[WrittenFile]) -> bool:
        """Whether readers see these files of a publication, or other files with the same rows."""
        if {file.path for file in files} == self._files.get(there.partition, set()):
            return True
        for attempt, changed in self._commits():
            if attempt == there.run:
                return True
            if not changed.isdisjoint({there.partition, ANY}):
                return False
        return False

    def _commits(self) -> Iterator[tuple[str | None, set[str]]]:
        """Newest first, the attempt that each commit names; and the partitions that others changed with one."""
        yield from self._known
        for commit in self._older:
            attempt = commit.get(ATTEMPT)
            changed = touched(self.path, int(commit["version"])) if attempt is None else set()
            self._known.append((attempt, changed))
            yield attempt, changed


def followers(settings: Settings, spec: ModelSpec) -> tuple[Follower, Follower | None]:
    """The tables of the rejected rows and of the shadow's scores; None for the shadow's when it cannot be opened."""
    rejected, shadow = rejected_path(settings, spec), shadow_path(settings, spec)
    try:
        beside = Follower(shadow, open_table(shadow))
    except (Misconfigured, OSError) as error:
        log.warning("Nobody looks at the shadow of %s: %s", spec.model, error)
        beside = None
    return Follower(rejected, open_table(rejected)), beside


def follow(job: JobContext) -> None:
    """Let the rejected rows, and the scores of the shadow, follow the predictions that readers see, unless they have.

    Raises Unavailable, and Rejected when rejected rows are lost: then the partition is to be published anew.
    """
    path = predictions_path(job.settings, job.spec)
    there = publication_of(path, job.partition.key)
    if there is None or there.rejected_files is None:
        return
    table = open_version(path, there.table_version)  # its number then: somebody may have published since
    number, key = transaction(job, table), _key_of(table, job.spec.key)
    beside = rejected_path(job.settings, job.spec)
    _keep_up(job, beside, rejected_schema(key), there, there.rejected_files, number)
    try:
        _follow_in_shadow(job, there, key, number)
    except (Misconfigured, OSError) as error:  # a table that another tool has closed or broken
        if is_full_disk(error):
            raise
        log.warning("The shadow's scores of %s %s do not follow: %s", job.spec.model, there.partition, error)


def _follow_in_shadow(job: JobContext, there: Publication, key: pa.Schema, number: int) -> None:
    shadow = shadow_path(job.settings, job.spec)
    if there.shadow is None and open_table(shadow) is None:
        return
    files = there.shadow.files if there.shadow else ()  # those of another publication would go with no row
    if lost := _lost(shadow, files):
        log.warning("%s in %s are gone or cut off: the shadow goes without them.", _counted(lost), shadow.name)
    _keep_up(job, shadow, predictions_schema(key), there, [file for file in files if file not in lost], number)


def settle(job: JobContext) -> None:
    """Let everything follow the predictions that readers see: the rejected rows, and the spec's database."""
    follow(job)
    follow_beyond(job)


def follow_beyond(job: JobContext) -> None:
    """Let the database of the spec follow, if there is one. Raises Unavailable and Misconfigured."""
    if job.spec.output.kind == "sql":
        from jobs.sql_sink import follow_in_database  # workers import this module, and need no database

        follow_in_database(job)


def _keep_up(
    job: JobContext, path: Place, columns: pa.Schema, there: Publication, files: Sequence[WrittenFile], number: int
) -> None:
    """Have a table hold what goes with the publication of that number, unless it does, or a newer one was made."""
    for _ in range(TRIES):
        table = ensure_table(path, columns)
        at = transaction(job, table)
        if at == number and Follower(path, table).holds(there, files):
            return
        if at > number and _is_over(job, there):
            return
        if lost := _lost(path, files):
            raise Rejected(
                f"{_counted(lost)} of the rows that {job.spec.model} {job.partition} rejected are gone from "
                f"{path.name}, or cut off: run it again from its plan, and it is published anew."
            )
        if replace(job, path, table, columns, files, number, there.run, {}):
            return
    raise busy(job)


def _is_over(job: JobContext, there: Publication) -> bool:
    """Whether somebody has published the partition since."""
    newest = publication_of(predictions_path(job.settings, job.spec), there.partition)
    return newest is not None and newest.run != there.run


def _lost(folder: Place, files: Sequence[WrittenFile]) -> list[WrittenFile]:
    return [file for file in files if not is_there(file, folder)]


def _counted(files: Sequence[WrittenFile]) -> str:
    return f"{len(files)} file{'' if len(files) == 1 else 's'}"


def _files_by_partition(table: DeltaTable) -> dict[str, set[str]]:
    actions = pa.table(table.get_add_actions(flatten=True))
    found: dict[str, set[str]] = {}
    if len(actions):
        keys = actions[f"partition.{PARTITION}"].cast(pa.string()).to_pylist()
        for key, path in zip(keys, actions["path"].to_pylist(), strict=True):
            found.setdefault(key, set()).add(unquote(path))
    return found


def _key_of(table: DeltaTable, key: Sequence[str]) -> pa.Schema:
    there = pa.schema(table.schema().to_arrow())
    return pa.schema([pa.field(name, there.field(name).type) for name in key])
