"""The command line as people and machines meet it, in a process of its own: what it says, and its exit code."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import Any

from chaos.children import as_a_command, fork_server

PATIENCE = 120
OURS = ("LAMPLIGHTER", "MLFLOW", "AIRFLOW")


def variables_of(home: Path, **more: str) -> dict[str, str]:
    """The environment of a command in a home, on a wide terminal, without this process's own settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return kept | {"LAMPLIGHTER_HOME": str(home), "COLUMNS": "200", "NO_COLOR": "1"} | more


def in_shop(shop: Any, *arguments: str, **variables: str) -> CompletedProcess[str]:
    """Run `lamplighter` in a shop's home."""
    variables = {"LAMPLIGHTER_MODELS": str(shop.settings.models)} | variables
    return lamplighter(*arguments, environment=variables_of(shop.settings.home, **variables))


def lamplighter(*arguments: str, environment: Mapping[str, str]) -> CompletedProcess[str]:
    """Run `lamplighter` with these arguments.

    It is forked from a server that has imported what commands import: that takes longer than most commands.
    `tests/jobs/test_imports.py` runs them from nothing.
    """
    with TemporaryDirectory() as folder:
        said, told = Path(folder, "out"), Path(folder, "err")
        asked = (arguments, dict(environment), str(Path.cwd()), str(said), str(told))
        child = fork_server().Process(target=_work, args=asked)
        child.start()
        child.join(PATIENCE)
        if child.exitcode is None:
            child.kill()
            child.join()
            raise TimeoutError(f"lamplighter {' '.join(arguments)}: {told.read_text()[-2000:]}")
        return CompletedProcess(arguments, child.exitcode, said.read_text(), told.read_text())


def _work(arguments: tuple[str, ...], environment: dict[str, str], where: str, said: str, told: str) -> None:
    os.environ.clear()
    os.chdir(where)
    sys.argv = ["lamplighter", *arguments]
    as_a_command(environment, said, told)()
