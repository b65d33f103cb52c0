"""Reading a model's folder: `model.yaml` into a `ModelSpec`, `pipeline.py` into its two functions."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from jobs.errors import InvalidSpec, Misconfigured
from jobs.spec import ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd
    from pydantic_core import ErrorDetails
    from sklearn.pipeline import Pipeline

SPEC_FILE = "model.yaml"
PIPELINE_FILE = "pipeline.py"


@dataclass(frozen=True)
class PipelineModule:
    """The two functions of a model's `pipeline.py`."""

    build: Callable[[], Pipeline]
    label: Callable[[pd.DataFrame], pd.Series[Any]]


def model_names(models: Path) -> list[str]:
    """The names of all folders below `models` that hold a spec, sorted."""
    return sorted(path.parent.name for path in models.glob(f"*/{SPEC_FILE}"))


def load_spec(models: Path, name: str) -> ModelSpec:
    """The spec of one model. Raises InvalidSpec with all faults at once, Misconfigured when there is no such model."""
    path = models / name / SPEC_FILE
    if not os.path.isfile(path):  # noqa: PTH113 - pathlib's own raises for a name that is too long
        known = ", ".join(model_names(models)) or "none"
        raise Misconfigured(f"There is no model {name!r} (no file {_shown(path)}); the models are: {known}.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise InvalidSpec(f"{_shown(path)}: this is not UTF-8: save it in that encoding") from None
    spec = parse_spec(text, _shown(path))
    if spec.model != name:
        raise InvalidSpec(f"{_shown(path)}: model: {spec.model!r} must be the name of its folder, {name!r}")
    return spec


def parse_spec(text: str, where: str) -> ModelSpec:
    """The spec that a YAML text holds; `where` names the file in messages. Raises InvalidSpec."""
    node, content, twice = _loaded(text, where)
    if not isinstance(content, dict):
        raise InvalidSpec(f"{where}: a spec is a mapping of keys to values, and this is not")
    faults = [(line, f"{key}: the key stands twice in one mapping") for line, key in twice]
    try:
        spec = ModelSpec.model_validate(content)
    except ValidationError as error:
        faults += [_fault(detail, node) for detail in error.errors()]
        spec = None
    if faults or spec is None:
        raise InvalidSpec("\n".join(f"{where}:{line}: {fault}" for line, fault in sorted(faults)))
    return spec


def _loaded(text: str, where: str) -> tuple[yaml.Node | None, object, list[tuple[int, str]]]:
    """The text as nodes and as values, and its keys that stand twice. Raises InvalidSpec."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return node, yaml.safe_load(text), _twice(node)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InvalidSpec(f"{where}{line}: this is not YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError) as error:  # a character that cannot be, a 31st of February
        raise InvalidSpec(f"{where}: this is not YAML: {str(error).splitlines()[0][:200]}") from None
    except RecursionError:
        raise InvalidSpec(f"{where}: this is nested too deeply, or refers to itself") from None


def load_pipeline_module(models: Path, name: str) -> PipelineModule:
    """The functions `build` and `label` of a model's pipeline.py. Raises Misconfigured."""
    module = load_module(models, name, PIPELINE_FILE, ("build", "label"))
    return PipelineModule(module.build, module.label)


def load_module(models: Path, name: str, file: str, functions: tuple[str, ...]) -> ModuleType:
    """A Python file of a model's folder, under a name of its own. Raises Misconfigured when a function is missing."""
    path = models / name / file
    module_name = f"lamplighter_models.{name}.{path.stem}"
    found = importlib.util.spec_from_file_location(module_name, path)
    if found is None or found.loader is None or not path.is_file():
        raise Misconfigured(f"The model {name} has no {_shown(path)}: write one with {', '.join(functions)}.")
    module = importlib.util.module_from_spec(found)
    sys.modules[module_name] = module
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise Misconfigured(f"{_shown(path)} cannot be imported: {type(error).__name__}: {error}") from error
    missing = [f for f in functions if not callable(getattr(module, f, None))]
    if missing:
        raise Misconfigured(f"{_shown(path)} has no function {' and no function '.join(missing)}: write it.")
    return module


def code_digest(models: Path, name: str) -> str:
    """A sha256 over the sources that decide what a partition's predictions are: ours, and the model's folder."""
    from jobs.settings import PROJECT

    ours = [p for package in ("jobs", "model_registry") for p in (PROJECT / package).rglob("*.py")]
    there = os.path.isdir(models / name)  # noqa: PTH112 - as above
    theirs = [p for p in (models / name).rglob("*") if p.suffix in {".py", ".yaml"}] if there else []
    total = sha256()
    for path in sorted(ours, key=str) + sorted(theirs, key=str):
        total.update(f"{path.name}\0".encode() + sha256(path.read_bytes()).digest())
    return total.hexdigest()


def _fault(detail: ErrorDetails, node: yaml.Node | None) -> tuple[int, str]:
    path = [part for part in detail["loc"] if part not in {"constrained-str", "function-before"}]
    key = ".".join(str(part) for part in path) or "(the whole spec)"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    value = "" if detail["type"] == "missing" or isinstance(detail["input"], dict) else _bounded(detail["input"])
    return _line(node, path), f"{key}{value}: {message}"


def _bounded(value: object) -> str:
    text = repr(value)
    return f" = {text if len(text) <= 60 else text[:57] + '...'}"


def _line(node: yaml.Node | None, path: list[int | str]) -> int:
    """The line (from 1) of the deepest node on `path` that the text has."""
    line = 1
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                break
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _twice(node: yaml.Node | None) -> list[tuple[int, str]]:
    """Line and name of keys that stand twice in one mapping, which YAML would silently let the last one win."""
    found: list[tuple[int, str]] = []
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                found.append((key.start_mark.line + 1, key.value))
            seen.add(key.value)
            found += _twice(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            found += _twice(item)
    return found


def _shown(path: Path) -> str:
    return "/".join(path.parts[-3:])
