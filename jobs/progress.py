"""How far long work is: a bar on a terminal, and elsewhere a line in the log every few seconds."""

from __future__ import annotations

import logging
import sys
from time import monotonic
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
EVERY = 5.0
log = logging.getLogger(__name__)


def shown(results: Iterable[T], rows_of: Callable[[T], int], rows: int, what: str) -> Iterator[T]:
    """The results as they come, each with some of all `rows`; `what` names the work. Short work says nothing."""
    if not sys.stderr.isatty():
        yield from _logged(results, rows_of, rows, what)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        began, done = monotonic(), 0
        task = bar.add_task(what, total=rows, figures="")
        for result in results:
            done += rows_of(result)
            speed = done / max(monotonic() - began, 1e-9)
            bar.update(task, completed=done, figures=f"{done:,} of {rows:,} rows, {speed:,.0f} rows/s")
            yield result


def _logged(results: Iterable[T], rows_of: Callable[[T], int], rows: int, what: str) -> Iterator[T]:
    began = said = monotonic()
    done = 0
    for result in results:
        done += rows_of(result)
        now = monotonic()
        if now - said >= EVERY and done < rows:
            said = now
            speed = done / (now - began)
            log.info(
                "%s: %s of %s rows (%.0f %%), %s rows/s, %s s left.",
                *(what, f"{done:,}", f"{rows:,}", 100 * done / rows, f"{speed:,.0f}", f"{(rows - done) / speed:,.0f}"),
            )
        yield result
