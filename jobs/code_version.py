"""Which code is running: the name that the image was built with, or what git says, or the package's version."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.metadata import version

from jobs.settings import PROJECT


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
