"""How kernels are compiled: with all their types at once, so that nothing is left to compile while rows wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(*signatures: object) -> Callable[[Kernel], Kernel]:
    """Compile a function for these types when it is defined, and keep it on disk for other processes.

    Where nothing can be kept, as in a container that cannot be written to, each process compiles for itself.
    """

    def compiled(function: Kernel) -> Kernel:
        try:
            return njit(list(signatures), cache=True, nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]
        except RuntimeError as error:
            if "cannot cache function" not in str(error):
                raise
            return njit(list(signatures), nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]

    return compiled
