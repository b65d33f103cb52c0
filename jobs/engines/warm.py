"""The engine of a partition stays open for the next one of the same process: workers take seconds to start."""

from __future__ import annotations

import atexit
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jobs.engines.engine import Engine


@dataclass(frozen=True)
class _Kept:
    like: object
    engine: Engine
    stack: ExitStack


_kept: dict[int, _Kept] = {}  # by process: what a parent has opened, its child neither uses, closes nor lets go


@contextmanager
def warm(engine: Engine) -> Iterator[Engine]:
    """An open engine like the one given: the one that is kept, if it is well, or else this one, which is kept then.

    One is kept at most, since two clusters would take each other's memory, and after an exception none.
    """
    like, mine = _likeness(engine), _kept.get(os.getpid())
    if mine is None or mine.like != like or not mine.engine.is_well():
        close()
        stack = ExitStack()
        mine = _kept[os.getpid()] = _Kept(like, stack.enter_context(engine), stack)
    try:
        yield mine.engine
    except BaseException:
        close()
        raise


def close() -> None:
    """Close the engine that this process keeps, if there is one."""
    mine = _kept.pop(os.getpid(), None)
    if mine is not None:
        mine.stack.close()


def _likeness(engine: Engine) -> object:
    """What two engines have in common that may stand for each other: their workers see the same variables, too."""
    variables = sorted(item for item in os.environ.items() if item[0].startswith("LAMPLIGHTER_"))
    return (engine.name, engine.where, variables)


atexit.register(close)
