"""The challenger in the shadow: it scores the rows that production scores, in a table of its own, and harms nothing.

Whatever is wrong with it is kept as a sentence, and the night goes on without it. Only a full disk and a lack of memory
are everybody's.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from jobs.errors import LamplighterError, Misconfigured, without_values
from jobs.fragment_file import FragmentFile
from jobs.scorer import load_scorer
from jobs.table import predictions_of

if TYPE_CHECKING:
    import pyarrow as pa

    from jobs.fragments import WrittenFile
    from jobs.treat import Treated


@dataclass(frozen=True)
class ShadowTask:
    """What a worker needs to score a fragment by the challenger, too."""

    version: int
    version_files: str
    folder: str


def fault_of(error: BaseException) -> str:
    """Why there is no shadow, as a sentence or its end, without values of rows."""
    return str(error) if isinstance(error, LamplighterError) else without_values(error)


class Shadow:
    """The challenger's share in a fragment; without a task it does nothing. Entered while the fragment is scored."""

    def __init__(self, task: ShadowTask | None, name: str) -> None:
        self.task = task
        self.fault = ""
        self._file = FragmentFile(task.folder, name) if task else None

    def score(self, table: pa.Table, treated: Treated, keys: pa.Table, where: str) -> None:
        """Score a batch as production does, and keep it; `keys` are those of the rows that are not rejected.

        Raises Unavailable when the disk is full.
        """
        if self.task is None or self._file is None or self.fault:
            return
        try:
            score = load_scorer(self.task.version_files).score(table, treated, where)
            predictions = predictions_of(keys, score, self.task.version)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a pipeline raises: production does not wait for it
            self.fault = fault_of(error)
            return
        try:
            self._file.write(predictions)
        except (Misconfigured, OSError) as error:  # a full disk is none of these
            self.fault = fault_of(error)

    def written(self) -> WrittenFile | None:
        """The file, once it is left; None when the challenger did not score every row."""
        return self._file.written() if self._file is not None and not self.fault else None

    def __enter__(self) -> Self:
        if self._file is not None:
            self._file.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._file is not None:  # half a fragment is of no use
            with suppress(*([OSError] if self.fault else [])):
                self._file.__exit__(kind or (LamplighterError if self.fault else None), error, trace)
