"""Named instants of the work, where a test can make it fail. Nobody listens by default, and that costs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PROMOTION_STEPS = {
    "promotion:locked": "the lock is held, nothing is decided",
    "promotion:checked": "evidence and champion are as they should be",
    "promotion:appended": "the row is in the transaction, which is not committed",
    "promotion:recorded": "the ledger has committed; the alias is still the old one",
    "alias:locked": "the lock is held again, to bring the alias in step",
    "alias:moved": "MLflow has the new alias; the ledger has not noted it",
    "alias:noted": "the note is in the transaction, which is not committed",
    "promotion:settled": "everything is done, and the caller does not know it",
}

_listener: Callable[[str], None] | None = None


def step(name: str) -> None:
    """Tell the listener, if there is one, that the work has come to this instant."""
    if _listener is not None:
        _listener(name)


def listen(listener: Callable[[str], None] | None) -> None:
    """Have `listener` called at every step of this process; None ends it."""
    global _listener  # noqa: PLW0603 - one process, one listener
    _listener = listener
