"""What attempts that never published have left in the tables' folders, and its removal from a partition.

Every publication is kept for time travel, so a file that any publication names is no orphan. A file's name begins with
the fence of its attempt; once that fence was passed, nobody can publish the file any more.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import unquote

from jobs.errors import Misconfigured
from jobs.fragments import RECORDS, fence_of
from jobs.storage import Place, remove_tree
from jobs.table import (
    LOG,
    PARTITION,
    actions_in,
    app_id,
    files_of,
    open_table,
    predictions_path,
    publication_in,
    publications,
    rejected_path,
    shadow_path,
)

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from jobs.context import JobContext
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.table import Publication

log = logging.getLogger(__name__)


def named_files(settings: Settings, spec: ModelSpec) -> set[Place]:
    """The files that any publication of the model has ever named.

    Rejected rows and a shadow's scores count from the commit of the predictions on, also while their tables have yet to
    follow.
    """
    tables = tables_of(settings, spec)
    listed = {path for p in publications(tables[0]) for path in _beside(settings, spec, p)}
    return listed.union(*map(_added, tables))


def tables_of(settings: Settings, spec: ModelSpec) -> tuple[Place, ...]:
    """The folders of the model's tables, that of the predictions first."""
    return predictions_path(settings, spec), rejected_path(settings, spec), shadow_path(settings, spec)


def _beside(settings: Settings, spec: ModelSpec, publication: Publication) -> set[Place]:
    """The files that a publication lists for the tables that follow its own."""
    rejected, shadow = rejected_path(settings, spec), shadow_path(settings, spec)
    found = {rejected / file.path for file in publication.rejected_files or ()}
    return found | {shadow / file.path for file in (publication.shadow.files if publication.shadow else ())}


def sweep(job: JobContext) -> None:
    """Remove from the partition what attempts have left whose fence was passed, and no publication names.

    What readers see is known from the table as it is; the whole history is read only when other files are there.
    """
    tables = tables_of(job.settings, job.spec)
    predictions, table = tables[0], open_table(tables[0])
    now = (table.transaction_version(app_id(job.partition)) or 0) if table is not None else 0
    folder = f"partition={job.partition.key}"
    there = {path for place in tables for path in (place / folder).glob("*.parquet")}
    left = {path for path in there if _passed(path, now)} - _seen(job, table, predictions)
    for path in left - _named(job, left) if left else ():
        path.unlink(missing_ok=True)
    for records in (predictions / RECORDS / folder).glob("*"):
        if _passed(records, now):
            remove_tree(records)


def _named(job: JobContext, left: set[Place]) -> set[Place]:
    """Those that a publication names; all of them when a log is broken, and nobody knows."""
    try:
        return named_files(job.settings, job.spec)
    except Misconfigured as error:
        log.warning("What attempts have left of %s %s stays there: %s", job.spec.model, job.partition, error)
        return left


def _seen(job: JobContext, table: DeltaTable | None, predictions: Place) -> set[Place]:
    """The files of the publication of the partition that readers see, those of the tables that follow included."""
    publication = publication_in(table, predictions, job.partition.key)
    if table is None or publication is None:
        return set()
    beside = _beside(job.settings, job.spec, publication)
    return beside | set(files_of(table, predictions, PARTITION, job.partition.key))


def _passed(path: Place, now: int) -> bool:
    fence = fence_of(path.name)
    return fence is not None and fence < now


def _added(table: Place) -> set[Place]:
    """The files that any commit of the table's log has ever added."""
    found: set[Place] = set()
    for commit in (table / LOG).glob("*.json"):
        for action in actions_in(commit, table):
            if (added := action.get("add")) is not None:
                found.add(table / unquote(added["path"]))
    return found
