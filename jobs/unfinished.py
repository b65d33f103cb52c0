"""Runs that scored, or tried to, and published nothing: what they left in their folders says why."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from jobs.input_gate import InputGateResult
from jobs.output_gate import OutputGateResult
from model_registry.codec import from_json

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.settings import Settings

STEPS = ("publish", "output-gate", "score", "input-gate")
GATES: dict[str, type[OutputGateResult | InputGateResult]] = {
    "output-gate": OutputGateResult,
    "input-gate": InputGateResult,
}
T = TypeVar("T")


def unfinished(settings: Settings, model: str, partition: str) -> str | None:
    """Why the newest scoring run of a partition published nothing; None when it did, or when there was no run.

    A run that is at work just now looks the same as one that was cut off.
    """
    folder = settings.work / model / partition
    runs = [path for path in folder.iterdir() if (path / "plan.json").is_file()] if folder.is_dir() else []
    if not runs:
        return None
    newest = max(runs, key=lambda path: (path / "plan.json").stat().st_mtime)
    done = newest / _id_of(newest / "plan.json")
    steps = [step for step in STEPS if (done / f"{step}.json").is_file()]
    if "publish" in steps:
        return None
    for step, kind in GATES.items():
        judged = _read(done, step, kind)
        if judged is not None and judged.report is not None and not judged.report.passed:
            names = ", ".join(check.name for check in judged.report.failures)
            return f"The {judged.report.gate} of the newest run was closed: {names}."
    return f"The newest run got as far as `{[*steps, 'plan'][0]}`, and published nothing."


def _id_of(plan: Path) -> str:
    """Names the folder of what was done by a plan; a release that had none left it beside the plan."""
    try:
        return str(json.loads(plan.read_text(encoding="utf-8")).get("id", ""))
    except (OSError, ValueError):  # gone, or half of one
        return ""


def _read(folder: Path, step: str, kind: type[T]) -> T | None:
    try:
        return from_json(kind, (folder / f"{step}.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError):  # not there, or written by another release
        return None
