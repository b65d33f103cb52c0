"""Compiled pipelines as files: arrays in an .npz, which holds no objects, and everything else in JSON beside it."""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.compiled.check import check_plan
from jobs.compiled.form import (
    Calibrated,
    Columns,
    Isotonic,
    Linear,
    Lookup,
    NotCompiledError,
    Number,
    Plan,
    Sigmoid,
    Step,
    Trees,
)
from jobs.errors import Misconfigured

FORMAT = 1
DESCRIPTION = "compiled.json"
ARRAYS = "compiled.npz"
TYPES = {t.__name__: t for t in (Calibrated, Columns, Isotonic, Linear, Lookup, Number, Plan, Sigmoid, Step, Trees)}
BROKEN = (
    *(OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, EOFError),
    *(zipfile.BadZipFile, zlib.error, NotImplementedError, tokenize.TokenError),
)


def save_plan(folder: Path, plan: Plan) -> None:
    """Write the two files of a compiled pipeline: equal plans give equal bytes."""
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    content = {"format": FORMAT, "plan": _described(plan, arrays)}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    with (folder / ARRAYS).open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def load_plan(folder: Path) -> Plan:
    """The compiled pipeline in a folder, checked so that no kernel can read or write outside of its arrays.

    Raises Misconfigured when the files are not what `save_plan` writes, or have another format's number.
    """
    try:
        content = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise Misconfigured(
                f"{DESCRIPTION} of the version has the format {content['format']!r}, and this Lamplighter reads "
                f"{FORMAT}: retrain the model, or install the Lamplighter that trained it."
            )
        with (folder / ARRAYS).open("rb") as arrays_file, np.load(arrays_file, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        plan = _built(content["plan"], arrays)
        if not isinstance(plan, Plan):
            raise NotCompiledError("it holds no plan")  # noqa: TRY301
        check_plan(plan)
    except (*BROKEN, NotCompiledError) as error:
        said = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise Misconfigured(f"The compiled form of the version cannot be read ({said}): retrain the model.") from error
    return plan


def _described(value: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """A value as JSON; its arrays go to `arrays`, and leave their name."""
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if is_dataclass(value):
        found = {field.name: _described(getattr(value, field.name), arrays) for field in fields(value)}
        return {"type": type(value).__name__, **found}
    if isinstance(value, tuple):
        return [_described(entry, arrays) for entry in value]
    return value


def _built(content: Any, arrays: dict[str, np.ndarray[Any, Any]]) -> Any:
    """The reverse of `_described`; lists become tuples."""
    if isinstance(content, list):
        return tuple(_built(entry, arrays) for entry in content)
    if isinstance(content, dict) and "array" in content:
        return arrays[content["array"]]
    if isinstance(content, dict) and "type" in content:
        kind = TYPES[content["type"]]
        return kind(**{field.name: _built(content[field.name], arrays) for field in fields(kind)})
    return content
