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
    process: int
    like: object
    engine: Engine
    stack: ExitStack


_kept: list[_Kept] = []  # one at most: two clusters would take each other's memory


@contextmanager
def warm(engine: Engine) -> Iterator[Engine]:
    """An open engine like the one given: the one that is kept, if it is well, or else this one, which is kept then.

    After an exception none is kept.
    """
    like = _likeness(engine)
    if not (_kept and _kept[0].like == like and _kept[0].engine.is_well()):
        close()
        stack = ExitStack()
        _kept.append(_Kept(os.getpid(), like, stack.enter_context(engine), stack))
    try:
        yield _kept[0].engine
    except BaseException:
        close()
        raise


def close() -> None:
    """Close the engine that is kept, if there is one, and if this process has opened it."""
    while _kept:
        last = _kept.pop()
        if last.process == os.getpid():
            last.stack.close()


def _likeness(engine: Engine) -> object:
    """What two engines have in common that may stand for each other: their workers see the same variables, too."""
    variables = sorted(item for item in os.environ.items() if item[0].startswith("LAMPLIGHTER_"))
    return (os.getpid(), engine.name, engine.where, tuple(variables))


atexit.register(close)
