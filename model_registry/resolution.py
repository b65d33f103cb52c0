"""Which version a scoring run gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from model_registry.errors import Misconfigured, UnknownVersion
from model_registry.semver import PATTERN
from model_registry.store import Stage
from model_registry.timeline import END_OF_TIME, in_force

if TYPE_CHECKING:
    from datetime import datetime

    from model_registry.promotion import Registry
    from model_registry.store import Version

MOST_DIGITS = 9


class Selector:
    """Which version a scoring run asks for: `as-of`, `production`, a number, or a semantic version."""

    AS_OF = "as-of"
    PRODUCTION = "production"


def resolve(registry: Registry, model: str, selector: str, at: datetime) -> Version:
    """The version that scores a partition beginning at `at` (UTC).

    `as-of` is the version in production at `at`, `production` the one in production now, a number (3) or a semantic
    version (1.2.0) just that one. A version that has seen data from `at` or later is refused: its scores would know the
    future. Raises UnknownVersion and Misconfigured.
    """
    if selector == Selector.AS_OF:
        found = registry.champion(model, at)
    elif selector == Selector.PRODUCTION:
        found = registry.production(model)
    else:
        found = named(registry, model, selector)
    if found is None:
        when = f"at {at:%Y-%m-%d %H:%M} UTC" if selector == Selector.AS_OF else "now"
        raise UnknownVersion(f"{model} has no version in production {when}: retrain and promote one first.")
    return _blind(found, at)


def _blind(found: Version, at: datetime) -> Version:
    """The version, if it has seen nothing from `at` on. Raises Misconfigured."""
    if found.trained_until > at:
        raise Misconfigured(
            f"{found} has seen data up to {found.trained_until:%Y-%m-%d %H:%M} UTC and cannot score a partition that "
            f"begins at {at:%Y-%m-%d %H:%M} UTC: choose as-of, or a version trained on earlier data."
        )
    return found


def challenger(registry: Registry, model: str, at: datetime) -> Version:
    """The version in staging now, to score a partition beginning at `at` (UTC) beside the one in production.

    Raises UnknownVersion when there is none or it was deleted, and Misconfigured when it has seen data from `at` or
    later, or was replaced.
    """
    with registry.ledger.reading() as session:
        row = in_force(session.history(model), Stage.staging, END_OF_TIME)
    if row is None:
        raise UnknownVersion(f"{model} has no version in staging.")
    found = registry.store.version(model, row.version)
    if found.digest != row.digest:
        raise Misconfigured(f"{found} is in staging with another digest than was registered: challenge another one.")
    return _blind(found, at)


def named(registry: Registry, model: str, name: str) -> Version:
    """The version with that number or semantic version. Raises UnknownVersion and Misconfigured."""
    number = number_called(model, name)
    if number is not None:
        return registry.store.version(model, number)
    if PATTERN.fullmatch(name) is None:
        raise Misconfigured(f"No version is called {name!r}: ask for as-of, production, a number or one like 1.2.0.")
    found = [version for version in registry.store.versions(model) if version.semver == name]
    if not found:
        raise UnknownVersion(f"{model} has no version {name}: `lamplighter history {model}` lists what there is.")
    return found[0]


def number_called(model: str, name: str) -> int | None:
    """The number that `name` is, or None. Raises UnknownVersion for one that no database could hold."""
    if not name.isdecimal():
        return None
    if len(name) > MOST_DIGITS:
        raise UnknownVersion(f"{model} has no version {name[:20]}{'...' if len(name) > 20 else ''}.")
    return int(name)
