"""Scoring jobs in processes of their own, as Airflow runs them: forked from a server that has MLflow loaded."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from chaos.children import fork_server
from conftest import Shop

from jobs.errors import Unavailable
from jobs.rescore import score_partition

if TYPE_CHECKING:
    from pathlib import Path

    from jobs.settings import Settings

AGAIN = 75


def ended(what: str, root: Path, settings: Settings, day: str) -> int:
    """The exit code of a retrain (`retrain`) or of a night (`score`): 0, AGAIN, or another one."""
    process = fork_server().Process(target=_work, args=(what, root, settings, day))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _work(what: str, root: Path, settings: Settings, day: str) -> None:
    shop = Shop(root)
    shop.settings = settings
    try:
        if what == "retrain":
            shop.retrain(day)
        else:
            score_partition(shop.job(day, "night"))
    except Unavailable:
        sys.exit(AGAIN)
