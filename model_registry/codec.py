"""Frozen dataclasses to JSON and back, in one place (docs/decisions/0002-json-by-pydantic.md)."""

from __future__ import annotations

import json
from functools import cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

from pydantic import TypeAdapter

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T")


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_plain(value: object) -> Any:
    """The value as JSON types (dict, list, str, float, ...)."""
    return _adapter(cast("Any", type(value))).dump_python(value, mode="json")


def to_json(value: object) -> str:
    """The value as indented JSON text, keys in the order of the fields."""
    return json.dumps(to_plain(value), indent=2, ensure_ascii=False)


def from_json(kind: type[T], text: str) -> T:
    """The dataclass `kind` read from JSON text. Raises pydantic.ValidationError when the text does not fit."""
    value: T = _adapter(cast("Any", kind)).validate_json(text)
    return value


def write_json(path: Path, value: object) -> None:
    """Write the value to `path` so that a reader sees the old file or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")  # of this call alone: two may write at once
    try:
        temporary.write_text(to_json(value) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(value: object) -> str:
    """The sha256 of the value's canonical JSON (sorted keys, no white space), in hexadecimal."""
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode()).hexdigest()
