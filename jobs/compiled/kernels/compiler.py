"""How kernels are compiled: with all their types at once, so that nothing is left to compile while rows wait."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from hashlib import sha256
from typing import Any, TypeVar

from numba import njit

log = logging.getLogger(__name__)
FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
DAMAGED = (EOFError, OSError, ValueError, AttributeError, ImportError, IndexError, pickle.UnpicklingError)
"""What is raised when a kernel that was kept is not whole, as after a power cut."""
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


def kernel(*signatures: object) -> Callable[[Kernel], Kernel]:
    """Compile a function for these types when it is defined, and keep it on disk for other processes.

    Where nothing can be kept, as in a container that cannot be written to, each process compiles for itself.
    """

    def compiled(function: Kernel) -> Kernel:
        # Numba looks for what it kept by the name of the function, and would not see other flags
        function.__qualname__ += f"_{sha256(repr(FLAGS).encode()).hexdigest()[:8]}"
        try:
            return njit(list(signatures), cache=True, **FLAGS)(function)  # type: ignore[no-any-return]
        except DAMAGED as error:
            log.warning("The kernel %s is kept, but damaged (%s): it is compiled.", function.__name__, error)
        except RuntimeError as error:
            if "cannot cache function" not in str(error):
                raise
        return njit(list(signatures), **FLAGS)(function)  # type: ignore[no-any-return]

    return compiled
