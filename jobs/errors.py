"""The jobs' own errors, below the three groups of `model_registry.errors`."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.errors import LamplighterError, Misconfigured, Rejected, Tampered, Unavailable

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "InvalidSpec",
    "LamplighterError",
    "Misconfigured",
    "MissingFile",
    "MissingPartition",
    "Rejected",
    "Superseded",
    "Tampered",
    "TamperedSnapshot",
    "Unavailable",
    "disk_is_full",
    "in_brief",
    "is_full_disk",
    "of_the_machine",
    "out_of_memory",
    "printable",
    "texts_of",
    "without_values",
]


FULL = (errno.ENOSPC, errno.EDQUOT)
CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def disk_is_full(folder: Path | str | None = None) -> Unavailable:
    """The error to raise when there is no room, on the disk or within the quota."""
    where = f" of {folder}" if folder is not None else ""
    return Unavailable(f"The disk{where} is full: free some space and run the same again; nothing is lost.")


def out_of_memory() -> Unavailable:
    """The error to raise when the machine, or this job's limit, has no memory left."""
    return Unavailable(
        "There is not enough memory: give the job more, or make engine.rows_per_fragment smaller and run it again; "
        "nothing is lost."
    )


def of_the_machine(error: BaseException) -> LamplighterError | None:
    """What to say of an error that is this machine's, and not one of ours; None for any other."""
    if is_full_disk(error):
        return disk_is_full()
    if isinstance(error, MemoryError):
        return out_of_memory()
    if isinstance(error, OSError) and error.errno in CLOSED and error.filename is not None:
        where = printable(str(error.filename))
        return Misconfigured(
            f"{where} cannot be written or read ({error.strerror}): give the user of this job the right to."
        )
    if any(f"(os error {number})" in str(error) for number in CLOSED):  # as a Rust library says it
        return Misconfigured(
            f"A file cannot be written or read ({in_brief(error)}): give the user of this job the right to it."
        )
    return None


def is_full_disk(error: BaseException) -> bool:
    """Whether an error is ENOSPC or EDQUOT, as Python raises it or as the text of a Rust library's."""
    return getattr(error, "errno", None) in FULL or any(f"(os error {number})" in str(error) for number in FULL)


def in_brief(error: BaseException) -> str:
    """What another library raised, as the end of a sentence: its kind and its first line, bounded."""
    return _brief(error, str(error))


def _brief(error: BaseException | str, text: str) -> str:
    first = next(iter(text.strip().splitlines()), "")[:200]
    if isinstance(error, str):
        return first
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def printable(name: str) -> str:
    """A name as it may stand in a sentence: on one line, and as UTF-8."""
    return name if name.isprintable() else ascii(name)


_VALUE = re.compile(
    r"""(?<!\w)'(?:\\.|[^'\\])*'(?!\w)|(?<!\w)"(?:\\.|[^"\\])*"(?!\w)|(?<!\w)[-+]?\d[\w.:+-]*""", re.DOTALL
)


def without_values(error: BaseException | str, texts: Iterable[str] = ()) -> str:
    """`in_brief` for an error about rows: whatever is quoted or begins with a digit could be a value of a row.

    `texts` are values that are known to be in the rows, and are left out wherever they stand.
    """
    text = str(error)
    for value in sorted({t for t in texts if len(t) > 2}, key=len, reverse=True):
        text = text.replace(value, "…")
    return _brief(error, _VALUE.sub("…", text))


def texts_of(frame: pd.DataFrame) -> set[str]:
    """The texts of a frame's columns, for `without_values`."""
    columns = frame.select_dtypes("object")
    return {value for name in columns for value in columns[name] if isinstance(value, str)}  # others may have no hash


class InvalidSpec(Misconfigured):
    """A model's folder cannot be used; the text lists every fault with file, line, key, value and what is allowed."""


class MissingPartition(Unavailable):
    """The source has no files for a partition yet."""


class MissingFile(Unavailable, FileNotFoundError):  # noqa: N818
    """A file that was listed or planned is gone."""


class Superseded(Rejected):
    """Another attempt published the partition after this one began."""


class TamperedSnapshot(Tampered):
    """A part of a snapshot is missing, or its rows are not those of its digest."""
