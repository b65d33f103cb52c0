"""The jobs' own errors, below the three groups of `model_registry.errors`."""

from __future__ import annotations

from pathlib import Path

from model_registry.errors import LamplighterError, Misconfigured, Rejected, Tampered, Unavailable

__all__ = [
    "InvalidSpec",
    "LamplighterError",
    "Misconfigured",
    "MissingPartition",
    "Rejected",
    "Superseded",
    "Tampered",
    "TamperedSnapshot",
    "Unavailable",
    "disk_is_full",
    "in_brief",
]


def disk_is_full(folder: Path | None = None) -> Unavailable:
    """The error to raise for ENOSPC."""
    where = f" of {folder}" if folder is not None else ""
    return Unavailable(f"The disk{where} is full: free some space and run the same again; nothing was published.")


def in_brief(error: Exception) -> str:
    """What another library raised, as the end of a sentence: its kind and its first line, bounded."""
    first = next(iter(str(error).strip().splitlines()), "")[:200]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


class InvalidSpec(Misconfigured):
    """A model's folder cannot be used; the text lists every fault with file, line, key, value and what is allowed."""


class MissingPartition(Unavailable):
    """The source has no files for a partition yet."""


class Superseded(Rejected):
    """Another attempt published the partition after this one began."""


class TamperedSnapshot(Tampered):
    """A part of a snapshot is missing, or its rows are not those of its digest."""
