"""A full disk is one sentence, and what was there before is still there."""

import shutil
from pathlib import Path

import pytest

from jobs.errors import Unavailable
from jobs.settings import Settings
from lamplighter import stack


def test_a_demo_does_not_begin_on_a_disk_that_is_too_small(tmp_path: Path) -> None:
    settings = Settings.from_environment({"LAMPLIGHTER_HOME": str(tmp_path)})
    far_too_much = shutil.disk_usage(tmp_path).total // 1_000_000 + 1
    with pytest.raises(Unavailable, match=rf"and {far_too_much} MB are needed: free some"):
        stack.check_disk(settings, far_too_much)
