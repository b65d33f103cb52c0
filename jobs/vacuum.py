"""Removing what attempts that never published have left, and never what a reader may use.

Every publication is kept for time travel, so what any commit of the log has ever named stays. Of the rest, files of a
fence that was passed are removed at once: their attempt cannot publish any more. Files of the present fence may belong
to an attempt that is at work, and must be old; then the fence is raised first, so that it cannot publish them just now.
Before the first publication of a model there is no fence to raise, and nothing is removed.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from jobs.commit import raise_fence
from jobs.fragments import RECORDS, fence_of
from jobs.storage import Place, remove_tree
from jobs.sweep import named_files, tables_of
from jobs.table import app_id_of, open_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from jobs.settings import Settings
    from jobs.spec import ModelSpec

OLD = timedelta(days=2)


@dataclass(frozen=True)
class Vacuumed:
    """What was removed (or would be, in a dry run) from the tables of a model."""

    model: str
    files: int
    size: int
    dry_run: bool

    def sentence(self) -> str:
        """The result for a person."""
        one = self.files == 1
        verb = "would be" if self.dry_run else "was" if one else "were"
        what = f"{self.files:,} file{'' if one else 's'} that no publication names"
        return f"{self.model}: {what} ({self.size / 1e6:,.1f} MB) {verb} removed."


def vacuum(settings: Settings, spec: ModelSpec, older_than: timedelta = OLD, *, dry_run: bool = False) -> Vacuumed:
    """Remove the files below the model's tables that no commit names, and the records of fragments that are over."""
    tables = tables_of(settings, spec)
    fences = _fences(tables)  # before the names: whoever publishes in between keeps more, and loses nothing
    named = named_files(settings, spec)
    before = time.time() - older_than.total_seconds()
    found = {path: size for table in tables for path, size in _orphans(table, named, fences, before)}
    if not dry_run:
        present = {key for path in found if fence_of(path.name) == fences[key := _partition_of(path)]}
        lost = {key for key in present if not raise_fence(tables[0], key, fences[key])}
        found = {path: size for path, size in found.items() if _partition_of(path) not in lost}
        for path in found:
            path.unlink(missing_ok=True)
        _forget(tables[0], before)
        if "sql" in {spec.source.kind, spec.label.kind}:
            from jobs.sql_source import forget_all

            forget_all(settings.tables, spec, before)
    return Vacuumed(spec.model, len(found), sum(found.values()), dry_run)


def _orphans(table: Place, named: set[Place], fences: dict[str, int], before: float) -> Iterator[tuple[Place, int]]:
    for path in table.glob("partition=*/*"):
        fence, now = fence_of(path.name), fences.get(_partition_of(path))
        if now is None:
            continue
        if fence is not None and fence > now:  # of a run that began after the look at the table
            continue
        passed = fence is not None and fence < now
        with suppress(FileNotFoundError):  # the next publication sweeps, too
            if not path.is_file():
                continue
            about = path.stat()
            if path not in named and (passed or about.st_mtime < before):
                yield path, about.st_size


def _partition_of(path: Place) -> str:
    return path.parent.name.removeprefix("partition=")


def _fences(tables: Sequence[Place]) -> dict[str, int]:
    """The transaction number of every partition that has files in a table; none when the first is not there yet."""
    found = open_table(tables[0])
    if found is None:
        return {}
    keys = {path.name.removeprefix("partition=") for table in tables for path in table.glob("partition=*")}
    return {key: found.transaction_version(app_id_of(key)) or 0 for key in keys}


def _forget(table: Place, before: float) -> None:
    """Remove records of fragments that nobody has touched for long."""
    for path in (table / RECORDS).glob("*/*"):
        records: list[Place] = list(path.glob("*.json"))
        with suppress(FileNotFoundError):  # a publication sweeps, too
            if records and all(record.stat().st_mtime < before for record in records):
                remove_tree(path)
