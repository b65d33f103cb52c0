"""What is left of a fragment that was scored: its files, and a record by which a later attempt knows them again.

A record is trusted only if its files are still what they were (size and checksum), and only while nobody has published
the partition since the files were written: their names begin with the number of the fence.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING
from uuid import uuid4

from pydantic import ValidationError

from jobs.storage import Place, keep_json
from model_registry.codec import digest, from_json

if TYPE_CHECKING:
    from jobs.plan import Plan

RECORDS = "_fragments"  # Delta readers leave folders with an underscore alone
BLOCK = 1 << 20


@dataclass(frozen=True)
class WrittenFile:
    """A Parquet file in a table's folder, by its path relative to the table; `checksum` is the sha256 of its bytes."""

    path: str
    size: int
    rows: int
    checksum: str = ""

    def is_intact(self, folder: Place) -> bool:
        """Whether the file is there with the bytes that were written."""
        path = folder / self.path
        try:
            return path.stat().st_size == self.size and checksum(path) == self.checksum
        except OSError:  # gone, also just now
            return False


def is_there(file: WrittenFile, folder: Place) -> bool:
    """Whether the file is there, as long as it was written."""
    try:
        return (folder / file.path).stat().st_size == file.size
    except FileNotFoundError:
        return False


@dataclass(frozen=True)
class FragmentResult:
    """What became of a fragment's rows. Score statistics are over the finite scores.

    `reused` says that an earlier attempt had scored it, `shadow_fault` why the shadow has not.
    """

    fragment: int
    rows_in: int
    rows_scored: int
    rows_rejected: int
    reasons: dict[str, int]
    not_finite: int
    score_min: float | None
    score_max: float | None
    score_sum: float
    predictions: WrittenFile | None
    rejected: WrittenFile | None
    reused: bool = False
    shadow: WrittenFile | None = None
    shadow_fault: str = ""


def fragments_key(plan: Plan) -> str:
    """What fragments that may stand for each other have in common: fence, version, input, code, how they are cut."""
    same = [plan.version.number, plan.version.digest, plan.input_digest, plan.code]
    same += [plan.shadow.number, plan.shadow.digest] if plan.shadow else []
    cut = [[fragment.file, *fragment.row_groups] for fragment in plan.fragments]
    return f"{plan.predictions.transaction:06d}-{digest([same, cut])[:32]}"


def file_name(partition: str, fence: int, attempt: str, fragment: int) -> str:
    """The path of a new file of a fragment, relative to its table.

    An engine that does a task twice must not write over the first file: another attempt may have published it.
    """
    return f"partition={partition}/{fence:06d}-{attempt}-{fragment:05d}-{uuid4().hex[:8]}.parquet"


def fence_of(name: str) -> int | None:
    """The fence that a name of a file or of records begins with, or None for one of another origin."""
    number, dash, _ = name.partition("-")
    return int(number) if dash and len(number) == 6 and number.isdecimal() else None


def record_path(table: Place, partition: str, key: str, fragment: int) -> Place:
    """Where the record of a fragment is."""
    return table / RECORDS / f"partition={partition}" / key / f"{fragment:05d}.json"


def keep_record(path: Place, result: FragmentResult) -> None:
    """Leave the record, whole or not at all."""
    keep_json(path, result)


def known(path: Place, predictions: Place, rejected: Place, shadow: Place | None = None) -> FragmentResult | None:
    """The result that an earlier attempt left, if its files are intact, each in the folder of its table."""
    try:
        found = from_json(FragmentResult, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError):
        return None
    files = ((found.predictions, predictions), (found.rejected, rejected), (found.shadow, shadow))
    there = all(file is None or (folder is not None and file.is_intact(folder)) for file, folder in files)
    return found if there else None


def checksum(path: Place) -> str:
    """The sha256 of a file's bytes."""
    total = sha256()
    with path.open("rb") as content:
        while block := content.read(BLOCK):
            total.update(block)
    return total.hexdigest()
