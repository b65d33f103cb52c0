"""The files of a partition, whatever kind of source it has: gates, scoring and training all get them here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.errors import Misconfigured, MissingFile, MissingPartition
from jobs.readiness import source_waiting_for
from jobs.source import SourceFile, input_digest, partition_files, source_file
from jobs.storage import place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from jobs.partition import Partition
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.spec_storage import Stored


@dataclass(frozen=True)
class Input:
    """The files of a partition in their order, and the version of the Delta table that they are of.

    `content` is a digest of what they hold where they were made here, and may be other files of the same rows.
    """

    files: list[SourceFile]
    version: int | None = None
    content: str = ""

    @property
    def rows(self) -> int:
        """Rows of all files."""
        return sum(sum(file.row_groups) for file in self.files)

    def digest(self) -> str:
        """What two inputs have in common that are the same."""
        return self.content or input_digest(self.files)


def find_input(settings: Settings, spec: ModelSpec, partition: Partition, stored: Stored | None = None) -> Input:
    """The partition of the source, or of `stored` (the label). Raises MissingPartition, Rejected and Misconfigured.

    From a SQL source the rows are read here and now, into files.
    """
    stored, column = stored or spec.source, spec.source.column
    if stored.kind == "parquet":
        return Input(partition_files(settings.data, stored.path, column, partition, stored.ready))
    version, content = None, ""
    if stored.kind == "delta":
        from jobs.delta_source import delta_files

        needed = spec.label.columns if stored is spec.label else tuple(spec.features)
        places, version = delta_files(settings.data, stored, column, partition, {*spec.key, *needed})
    else:
        from jobs.sql_source import extract

        places, content = extract(settings.tables, spec, stored, partition)
    try:
        files = [file for file in map(source_file, places) if sum(file.row_groups)]
    except MissingFile as error:
        if stored.version is None:
            raise
        raise Misconfigured(
            f"A file of version {stored.version} of {stored.path}, which the spec pins, is gone: another tool has "
            f"vacuumed the table; pin a newer version."
        ) from error
    if not files:
        raise MissingPartition(
            f"{stored.path} has no rows for {partition}: wait for the feed, or check the spec's rule and the variables."
        )
    return Input(files, version, content)


def pinned(files: Iterable[str]) -> list[SourceFile]:
    """Files that a plan has pinned. Raises Unavailable when one is gone."""
    return [source_file(place(path)) for path in dict.fromkeys(files)]


def check_source(settings: Settings, spec: ModelSpec, partition: Partition) -> None:
    """Raise MissingPartition when the source does not have the partition, or not yet, without reading its rows."""
    lacks = source_waiting_for(settings, spec, partition)
    if lacks is not None:
        raise MissingPartition(
            f"{spec.source.path} {partition} is not ready: {lacks}. Wait for the feed, or check the spec's rule."
        )
