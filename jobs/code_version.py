"""Which code a model comes from: the platform's, the model's own two files, and the packages that decide a fit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING

from jobs.errors import Misconfigured
from jobs.settings import PROJECT
from jobs.spec_file import PIPELINE_FILE, SPEC_FILE
from model_registry.codec import digest

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT_FILE = "environment.json"
DECIDING = (
    "joblib",
    "lamplighter",
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "skops",
    "threadpoolctl",
)


@dataclass(frozen=True)
class ModelCode:
    """The texts of a model's `model.yaml` and `pipeline.py`."""

    spec: str
    pipeline: str

    @property
    def digest(self) -> str:
        """What pins both."""
        return digest(self)

    @classmethod
    def read(cls, models: Path, name: str) -> ModelCode:
        """The texts as they are now. Raises Misconfigured when one is missing or is not UTF-8."""
        texts = []
        for file in (SPEC_FILE, PIPELINE_FILE):
            try:
                texts.append((models / name / file).read_text(encoding="utf-8"))
            except UnicodeDecodeError:
                raise Misconfigured(f"{name}/{file} is not UTF-8: save it in that encoding.") from None
            except OSError as error:
                raise Misconfigured(f"{name}/{file} cannot be read ({error.strerror}): put it there.") from error
        return cls(*texts)


@dataclass(frozen=True)
class Environment:
    """Where a fit ran: the platform's code, Python, the machine's architecture, and versions of packages."""

    code: str
    python: str
    machine: str
    packages: dict[str, str]

    def changes(self, now: Environment) -> list[str]:
        """What is different now, in words."""
        before, after = ({"Python": e.python, "the machine": e.machine, **e.packages} for e in (self, now))
        found = [
            f"{name} was {before.get(name, 'absent')} and is {after.get(name, 'absent')}"
            for name in sorted(before | after)
            if before.get(name) != after.get(name)
        ]
        return found + ([f"Lamplighter's code was {self.code} and is {now.code}"] if self.code != now.code else [])


def environment() -> Environment:
    """The environment of this process."""
    packages = {name: version(name) for name in DECIDING}
    return Environment(code_version(), platform.python_version(), platform.machine(), packages)


def code_version() -> str:
    """The code's version, for lineage: `LAMPLIGHTER_CODE_VERSION`, a git commit, or the package's version."""
    if named := os.environ.get("LAMPLIGHTER_CODE_VERSION"):
        return named
    git = shutil.which("git")
    if git is not None and (PROJECT / ".git").exists():
        command = [git, "-C", str(PROJECT), "describe", "--always", "--dirty", "--abbrev=40"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return version("lamplighter")
