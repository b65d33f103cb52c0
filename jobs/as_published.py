"""Whether readers see what was published, in each place where they may look."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.alterations import Alterations
from jobs.follow import followers
from jobs.table import history, open_table, predictions_path, publications_in
from jobs.table_state import unsupported

if TYPE_CHECKING:
    from jobs.settings import Settings
    from jobs.spec import ModelSpec
    from jobs.table import Publication


class AsPublished:
    """The tables of a model as they are now, with all that was published, oldest first."""

    def __init__(self, settings: Settings, spec: ModelSpec) -> None:
        path = predictions_path(settings, spec)
        table = open_table(path)
        commits = history(table, path) if table is not None else []
        self.publications = publications_in(commits)
        self._alterations = Alterations(table, path, commits) if table is not None else None
        self._spec, self._table = spec, table
        self._rejected, self._shadow = followers(settings, spec)
        self._unsupported = [
            f"The table {place.name} uses {', '.join(features)}, which is not supported here."
            for place, found in ((path, table), (self._rejected.path, self._rejected.table))
            if found is not None and (features := unsupported(found))
        ]

    def why_not(self, there: Publication) -> str:
        """Why readers of the tables may not see a partition's newest publication, as a sentence; else nothing."""
        if self._unsupported:
            return self._unsupported[0]
        if self._alterations is not None and (altered := self._alterations.of(there)):
            return altered
        if there.rejected_files is not None and not self._rejected.holds(there, there.rejected_files):
            return f"The table {self._rejected.path.name} does not hold the rows that it rejected."
        if there.shadow is not None and self._shadow and not self._shadow.holds(there, there.shadow.files):
            return f"The table {self._shadow.path.name} does not hold the scores of its shadow."
        return ""

    def why_not_in_database(self, there: Publication) -> str:
        """The same of readers of the spec's database, if there is one. Raises Unavailable and Misconfigured."""
        if self._spec.output.kind != "sql" or self._table is None:
            return ""
        from jobs.sql_sink import why_not_there

        return why_not_there(self._spec, self._table, there)
