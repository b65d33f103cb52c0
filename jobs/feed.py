"""A model's own feed: `models/<name>/feed.py` lays out partitions where its source reads them."""

from __future__ import annotations

from pathlib import Path

from jobs.errors import Misconfigured
from jobs.settings import Settings, make_folder
from jobs.spec_file import load_module


def lay_out_feed(settings: Settings, model: str) -> int:
    """Call `lay_out(data)` of the model's feed.py; returns how many partitions it laid out.

    Raises Misconfigured when the model has no such function.
    """
    module = load_module(settings.models, model, "feed.py", ("lay_out",))
    if not isinstance(settings.data, Path):
        raise Misconfigured(f"The feed lays out files in a folder, and LAMPLIGHTER_DATA is {settings.data}: copy them.")
    make_folder(settings.data, "LAMPLIGHTER_DATA")
    return int(module.lay_out(settings.data))
