"""The engine of a partition is there for the next one, and never one that is not well or not alike."""

import os
from collections.abc import Iterator
from typing import Any, Self

import pytest

from jobs.engines import warm as kept
from jobs.engines.dask import DaskEngine
from jobs.engines.local import LocalEngine
from jobs.engines.spark import SparkEngine
from jobs.engines.warm import warm

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # sockets that Dask and py4j close in their own time


class Counted(LocalEngine):
    """Says how often engines were opened and closed."""

    opened = 0
    closed = 0
    well = True

    def is_well(self) -> bool:
        return self.well

    def __enter__(self) -> Self:
        Counted.opened += 1
        return self

    def __exit__(self, *reason: object) -> None:
        Counted.closed += 1


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    kept.close()
    Counted.opened = Counted.closed = 0
    yield
    kept.close()
    assert Counted.opened == Counted.closed


def used(engine: Any) -> Any:
    with warm(engine) as running:
        return running


def test_one_like_it_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = used(Counted(2))
    assert used(Counted(2)) is first
    assert (Counted.opened, Counted.closed) == (1, 0)
    second = used(Counted(3))
    assert second is not first
    assert (Counted.opened, Counted.closed) == (2, 1)
    monkeypatch.setenv("LAMPLIGHTER_HOME", "elsewhere")
    assert used(Counted(3)) is not second
    kept.close()
    assert (Counted.opened, Counted.closed) == (3, 3)


def test_one_that_is_not_well_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    first = used(Counted(2))
    monkeypatch.setattr(first, "well", False)
    assert used(Counted(2)) is not first
    assert (Counted.opened, Counted.closed) == (2, 1)


def test_none_is_kept_after_an_exception() -> None:
    with pytest.raises(ValueError, match="no"), warm(Counted(2)):
        raise ValueError("no")
    assert (Counted.opened, Counted.closed) == (1, 1)


def test_what_a_parent_has_opened_is_not_closed_by_its_child() -> None:
    used(Counted(2))
    child = os.fork()
    if not child:
        kept.close()
        os._exit(Counted.closed)
    assert os.waitpid(child, 0)[1] == 0


def worker(_number: int) -> int:
    return os.getpid()


worker.__module__ = "__main__"  # pickled by value: the workers of a cluster do not know this file


@pytest.mark.parametrize("make", [DaskEngine, SparkEngine])
def test_workers_stay_and_dead_ones_are_replaced(make: Any) -> None:
    with warm(make(1)) as running:
        (first,) = running.map(worker, [1])
    with warm(make(1)) as running:
        assert list(running.map(worker, [1])) == [first]
    running.__exit__(None, None, None)
    with warm(make(1)) as running:
        assert list(running.map(worker, [1])) != [first]
