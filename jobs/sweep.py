"""What attempts that never published have left in the tables' folders, and its removal from a partition.

Every publication is kept for time travel, so a file that any publication names is no orphan. A file's name begins with
the fence of its attempt; once that fence was passed, nobody can publish the file any more.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import unquote

from jobs.fragments import RECORDS, fence_of
from jobs.storage import Place, remove_tree
from jobs.table import LOG, app_id, open_table, predictions_path, publications, rejected_path

if TYPE_CHECKING:
    from jobs.context import JobContext
    from jobs.settings import Settings
    from jobs.spec import ModelSpec


def named_files(settings: Settings, spec: ModelSpec) -> set[Place]:
    """The files that any publication of the model has ever named.

    Rejected rows count from the commit of their predictions on, also while their own table has yet to follow.
    """
    predictions, rejected = predictions_path(settings, spec), rejected_path(settings, spec)
    listed = {rejected / file.path for p in publications(predictions) for file in p.rejected_files or ()}
    return listed | _added(predictions) | _added(rejected)


def sweep(job: JobContext) -> None:
    """Remove from the partition what attempts have left whose fence was passed, and no publication names."""
    predictions = predictions_path(job.settings, job.spec)
    table = open_table(predictions)
    now = (table.transaction_version(app_id(job.partition)) or 0) if table is not None else 0
    folder = f"partition={job.partition.key}"
    left = [
        path
        for table_path in (predictions, rejected_path(job.settings, job.spec))
        for path in (table_path / folder).glob("*.parquet")
        if _passed(path, now)
    ]
    named = named_files(job.settings, job.spec) if left else set()
    for path in left:
        if path not in named:
            path.unlink(missing_ok=True)
    for records in (predictions / RECORDS / folder).glob("*"):
        if _passed(records, now):
            remove_tree(records)


def _passed(path: Place, now: int) -> bool:
    fence = fence_of(path.name)
    return fence is not None and fence < now


def _added(table: Place) -> set[Place]:
    """The files that any commit of the table's log has ever added."""
    found: set[Place] = set()
    for log in (table / LOG).glob("*.json"):
        for line in log.read_text(encoding="utf-8").splitlines():
            added = json.loads(line).get("add")
            if added is not None:
                found.add(table / unquote(added["path"]))
    return found
