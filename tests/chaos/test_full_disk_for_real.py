"""A disk that really is full, at any moment of a run: a small tmpfs, which only root may mount."""

import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chaos.children import JOBS
from chaos.world import World
from conftest import copy_shop
from tally import SEED, SEEDS, TALLY

SIZE = 2 << 20
PAGE = 4096
MOST_PAGES_LEFT = 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(disk: Path, pages_left: int) -> Path:
    """A file that leaves only so many pages of the disk."""
    balloon = disk / "balloon"
    written = 0
    with balloon.open("wb", buffering=0) as content:
        try:
            while True:
                written += content.write(bytes(PAGE))
        except OSError:
            content.truncate(max(0, written - pages_left * PAGE))
    return balloon


@pytest.mark.chaos
@pytest.mark.timeout(0)
def test_a_disk_that_is_full_at_some_moment(trained_home: Path, tmp_path: Path, small_disk: Path) -> None:
    shop: Any = copy_shop(trained_home, tmp_path / "world")
    shop.settings = replace(shop.settings, tables=small_disk / "tables")
    world = World(shop, tmp_path / "logs", TALLY)
    chance = random.Random(SEED)
    hits = 0
    for seed in range(SEEDS * 2):
        left = chance.randrange(MOST_PAGES_LEFT)
        with world.round(f"SEED={SEED} disk {seed} with {left} pages left") as run:
            balloon = fill(small_disk, left)
            for job in JOBS:
                child = world.child([job], run)
                code = child.wait()
                assert code in {0, 1}, f"{job} ended with {code}"
                if code:
                    said = child.log.read_text()
                    assert "is full: free some space" in said, said
                    assert "Traceback" not in said, said
                    hits += 1
                    TALLY.faults += 1
                    break
            balloon.unlink()
            world.finish(run)
        world.renew_sometimes()
    assert hits > SEEDS / 2
