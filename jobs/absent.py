"""Packages that are hidden from a library that would load them for nothing."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType


@contextmanager
def absent(*packages: str) -> Iterator[None]:
    """As if these were not installed, for who imports them first while this is entered: ImportError.

    What was imported before stays, and can be used by all. Afterwards they can be imported as ever. By what the import
    system does with None in `sys.modules` (Python's reference, "The module cache").
    """
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment]
    hidden = [name for name in packages if name not in modules]
    modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            if name in modules and modules[name] is None:  # another thread may have been here
                del modules[name]
