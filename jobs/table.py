"""The Delta tables of predictions and of rejected rows: where they are, what was published, and by whom.

The table's own history is the lineage: each publication is one commit, and its metadata says what it rests on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from jobs.errors import Misconfigured, in_brief
from jobs.fragments import WrittenFile
from jobs.spec_storage import REJECTED, SHADOW
from jobs.storage import Place, reaching, storage_options

if TYPE_CHECKING:
    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec

PARTITION = "partition"
KEPT_FOREVER = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}
LOG = "_delta_log"
ATTEMPT = "lamplighter.attempt"
"""Under which a commit of ours names its attempt."""
ANY = ""
"""Stands for the partition of a file that does not say its own."""
CHECKPOINTS = {"delta.checkpointInterval": "10"}
"""A table is opened a dozen times in a run, and reads what was committed since the last checkpoint each time."""


@dataclass(frozen=True)
class Shadowed:
    """What the version in staging made of the same rows; its table follows the predictions."""

    version: int
    digest: str
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class Publication:
    """One commit that replaced a partition of a table of predictions. `seconds` went by from its plan to it."""

    model: str
    partition: str
    version: int
    digest: str
    input_digest: str
    code: str
    rows_in: int
    rows_scored: int
    rows_rejected: int
    reasons: dict[str, int]
    engine: str
    run: str
    rejected_table_version: int | None = None  # of publications from before `rejected_files`
    score_mean: float | None = None
    rejected_files: tuple[WrittenFile, ...] | None = None
    seconds: float | None = None
    table_version: int | None = None
    published_at: datetime | None = None
    content: str = ""
    source_version: int | None = None  # of a Delta table that the rows came from
    shadow: Shadowed | None = None


def predictions_path(settings: Settings, spec: ModelSpec) -> Place:
    """The folder of the table of predictions."""
    return settings.tables / spec.output.table


def rejected_path(settings: Settings, spec: ModelSpec) -> Place:
    """The folder of the table of rejected rows."""
    return settings.tables / f"{spec.output.table}{REJECTED}"


def shadow_path(settings: Settings, spec: ModelSpec) -> Place:
    """The folder of the table of what the version in staging would have published."""
    return settings.tables / f"{spec.output.table}{SHADOW}"


def predictions_schema(key: pa.Schema) -> pa.Schema:
    """The columns of a predictions file: the key, `score` and `model_version` (the partition is in the folder)."""
    return pa.schema([*key, pa.field("score", pa.float64()), pa.field("model_version", pa.int32())])


def predictions_of(keys: pa.Table, score: np.ndarray[Any, Any], version: int) -> pa.Table:
    """Rows of a predictions file: keys as `publishable` gives them, with one score each, shape (rows,)."""
    arrays = [*keys.columns, pa.array(score), pa.array(np.full(len(score), version, dtype=np.int32))]
    return pa.table(arrays, schema=predictions_schema(keys.schema))


def rejected_schema(key: pa.Schema) -> pa.Schema:
    """The columns of a file of rejected rows: the key (which may be null) and `reason`."""
    return pa.schema([*key, pa.field("reason", pa.string())])


def same_types(columns: pa.Schema, path: Place) -> bool:
    """Whether the columns are those of the table at `path`, if there is one: its older files must stay readable."""
    table = open_table(path)
    return table is None or has_columns(table, Schema.from_arrow(columns))


def has_columns(table: DeltaTable, columns: Schema) -> bool:
    """Whether the table has these columns in these types, whatever else it has."""
    there = {field.name: field.type for field in table.schema().fields}
    return all(there.get(field.name) == field.type for field in columns.fields)


def open_table(path: Place, version: int | None = None) -> DeltaTable | None:
    """The table at `path`, or None when nothing was ever published there."""
    try:
        return open_version(path, version)
    except TableNotFoundError:
        return None


def open_version(path: Place, version: int | None) -> DeltaTable:
    """The table at `path`, which is there, at a version or the newest. Raises Misconfigured when its log is broken."""
    try:
        with reaching(path, (OSError, DeltaError)):
            return DeltaTable(str(path), version=version, storage_options=storage_options(path))
    except TableNotFoundError:
        raise
    except DeltaError as error:
        which = "" if version is None else f" in version {version}"
        raise Misconfigured(f"{path.name} cannot be opened as a Delta table{which}: {in_brief(error)}.") from error


def files_of(table: DeltaTable, where: Place, column: str, value: str) -> list[Place]:
    """The files of a partition of the table at `where`, in the order of their names.

    Not by `file_uris`: its addresses of a local table are encoded, and name other files when a path has a space.
    """
    actions = pa.table(table.get_add_actions(flatten=True))
    if not len(actions):
        return []
    mine = pc.equal(actions[f"partition.{column}"].cast(pa.string()), value)
    return [where / unquote(path) for path in sorted(actions["path"].filter(mine).to_pylist())]


def ensure_table(path: Place, columns: pa.Schema) -> DeltaTable:
    """The table at `path`, created empty when there is none; its history and its old files are kept for good."""
    found = open_table(path)
    if found is not None:
        return found
    path.mkdir(parents=True, exist_ok=True)
    schema = pa.schema([*columns, pa.field(PARTITION, pa.string())])
    try:
        with reaching(path):
            return DeltaTable.create(
                str(path),
                schema,
                mode="ignore",
                partition_by=[PARTITION],
                configuration={**KEPT_FOREVER, **CHECKPOINTS},
                storage_options=storage_options(path),
            )
    except CommitFailedError:  # another attempt created it at the same moment
        return open_version(path, None)


def app_id(partition: Partition) -> str:
    """The name under which publications of a partition are numbered in the table's transactions."""
    return app_id_of(partition.key)


def app_id_of(key: str) -> str:
    """The same for the partition with that key."""
    return f"score:{key}"


def history(table: DeltaTable, path: Place) -> list[dict[str, Any]]:
    """The commits to the table at `path`, newest first. Raises Misconfigured when some are gone.

    The library counts versions down from the one that was opened, also when somebody has committed since; as the log
    is kept for good, its length says what the newest is. It leaves out commits that say nothing of themselves.
    """
    with reaching(path):
        commits: list[dict[str, Any]] = table.history()
    if len(commits) != open_version(path, None).version() + 1:  # some say nothing, or somebody has just committed
        return list(newest_first(table, path))
    return [commit | {"version": len(commits) - 1 - age} for age, commit in enumerate(commits)]


def _log_is_cut(path: Place) -> Misconfigured:
    return Misconfigured(
        f"The log of the table {path.name} lacks commits that another tool has removed or cut off, so that it is not "
        f"known what was published: restore {LOG}, or choose another output.table."
    )


def publications(path: Place) -> list[Publication]:
    """All publications in the table's history, oldest first."""
    table = open_table(path)
    return [] if table is None else publications_in(history(table, path))


def publications_in(commits: Sequence[dict[str, Any]]) -> list[Publication]:
    """Those among the commits that `history` gives, oldest first."""
    found = [_publication(commit) for commit in reversed(commits)]
    return [p for p in found if p is not None]


def published(path: Place) -> dict[str, Publication]:
    """The publication that a reader sees, for each partition."""
    return {p.partition: p for p in publications(path)}


def publication_of(path: Place, partition: str) -> Publication | None:
    """The publication of a partition that a reader sees: looks no further back than to it."""
    return publication_in(open_table(path), path, partition)


def publication_in(table: DeltaTable | None, path: Place, partition: str | None = None) -> Publication | None:
    """The newest publication of a partition, or of any, in the table that lies at `path`, as it was opened."""
    if table is None or (partition is not None and not table.transaction_version(app_id_of(partition))):
        return None
    return next((p for p in back_from(table, path) if partition in {None, p.partition}), None)


def back_from(table: DeltaTable, path: Place) -> Iterator[Publication]:
    """The publications in the table that lies at `path`, as it was opened, newest first."""
    return (p for p in map(_publication, newest_first(table, path)) if p is not None)


def newest_first(table: DeltaTable, path: Place, since: int | None = None) -> Iterator[dict[str, Any]]:
    """The commits to the table that lies at `path`, as it was opened, down to the one after the version `since`."""
    for version in range(table.version(), -1 if since is None else since, -1):
        found = actions_in(path / LOG / f"{version:020d}.json", path)
        about: dict[str, Any] = next((action["commitInfo"] for action in found if "commitInfo" in action), {})
        yield about | {"version": version}


def actions_in(commit: Place, path: Place) -> list[dict[str, Any]]:
    """What a file of the log of the table at `path` says. Raises Misconfigured when it is gone or cut off."""
    try:
        with reaching(path):
            return [json.loads(line) for line in commit.read_text(encoding="utf-8").splitlines()]
    except (FileNotFoundError, ValueError):
        raise _log_is_cut(path) from None


def metadata(publication: Publication) -> dict[str, str]:
    """The publication as the metadata of its commit."""
    from model_registry.codec import to_json

    return {"lamplighter": to_json(publication)}


def _publication(commit: dict[str, Any]) -> Publication | None:
    from dataclasses import replace

    from model_registry.codec import from_json

    text = commit.get("lamplighter")
    if text is None:
        return None
    at = datetime.fromtimestamp(commit["timestamp"] / 1000, tz=UTC)
    return replace(from_json(Publication, text), table_version=commit["version"], published_at=at)
