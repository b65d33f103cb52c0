"""Errors, grouped by what the caller does next.

LamplighterError
├── Rejected        a gate said no: carries the report, never retried      exit 3
│   └── ChampionMoved   the champion is not the one that was decided against
├── Misconfigured   somebody must change something: never retried          exit 4
│   ├── UnknownVersion  no such version, or none in production at that time
│   └── Tampered        a version's files are not those that were registered
└── Unavailable     something is not there yet, or not now: retried        exit 1
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from model_registry.evidence import GateReport


class LamplighterError(Exception):
    """Base of every error that this project raises on purpose; its text is one sentence for a person."""

    exit_code: ClassVar[int] = 1


class Rejected(LamplighterError):  # noqa: N818 - the vocabulary of the project, read as a verdict
    """A gate said no. `report` holds the checks, where there is one."""

    exit_code = 3

    def __init__(self, message: str, report: GateReport | None = None) -> None:
        super().__init__(message)
        self.report = report


class ChampionMoved(Rejected):
    """The champion changed between the decision and the promotion."""


class Misconfigured(LamplighterError):  # noqa: N818
    """A spec, a setting or a request is wrong, and trying again cannot help."""

    exit_code = 4


class UnknownVersion(Misconfigured):
    """No such version, or no version in production at the time asked for."""


class Tampered(Misconfigured):
    """The files of a version are not the files that were registered."""


class Unavailable(LamplighterError):  # noqa: N818
    """Something is not there yet or does not answer now; trying again may help."""

    exit_code = 1
