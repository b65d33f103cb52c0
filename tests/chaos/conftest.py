"""Worlds to be disturbed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos.world import World
from conftest import Shop
from tally import TALLY


@pytest.fixture(scope="module")
def world(trained_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world for the rounds of a file."""
    root = tmp_path_factory.mktemp("chaos")
    shutil.copytree(trained_home, root, dirs_exist_ok=True)
    shop: Any = Shop(root)
    made = World(shop, root / "logs", TALLY)
    yield made
    made.read_all_versions()
