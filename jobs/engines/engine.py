"""The seam between the work and what runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
R = TypeVar("R")


class Engine(Protocol):
    """Maps one picklable function over tasks, somewhere. Entered before use, and left when the work is done."""

    name: str

    @property
    def where(self) -> tuple[object, ...]:
        """How many workers, and the address of the cluster: what engines of a name differ in."""
        ...

    def is_well(self) -> bool:
        """Whether it can still work, once it was entered."""
        ...

    def map(self, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
        """The results in any order. The first exception of the function is raised here as it was raised there."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *reason: object) -> None: ...
