"""The semantic version of a model, by the field's convention.

Major when signature or target change, minor when the model improves on the champion, patch when only the pipeline or
the window of the data changes.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from model_registry.store import Version

PATTERN = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
FIRST = "1.0.0"


class Change(StrEnum):
    """What a version is to the champion that it was judged against."""

    major = "major"
    minor = "minor"
    patch = "patch"


def change(candidate: Version, champion: Version, *, improved: bool) -> Change:
    """What the candidate changes: its interface, its quality, or neither."""
    if (candidate.signature, candidate.target) != (champion.signature, champion.target):
        return Change.major
    return Change.minor if improved else Change.patch


def following(taken: Iterable[str], kind: Change | None) -> str:
    """The semantic version after the highest of `taken`; the first of a model is 1.0.0. No two versions share one."""
    numbers = [tuple(int(part) for part in text.split(".")) for text in taken if PATTERN.fullmatch(text)]
    if not numbers:
        return FIRST
    major, minor, patch = max(numbers)
    if kind is Change.major:
        return f"{major + 1}.0.0"
    return f"{major}.{minor + 1}.0" if kind is Change.minor else f"{major}.{minor}.{patch + 1}"
