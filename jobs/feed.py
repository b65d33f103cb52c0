"""A model's own feed: `models/<name>/feed.py` lays out partitions where its source reads them."""

from __future__ import annotations

from jobs.settings import Settings, make_folder
from jobs.spec_file import load_module


def lay_out_feed(settings: Settings, model: str) -> int:
    """Call `lay_out(data)` of the model's feed.py; returns how many partitions it laid out.

    Raises Misconfigured when the model has no such function.
    """
    module = load_module(settings.models, model, "feed.py", ("lay_out",))
    make_folder(settings.data, "LAMPLIGHTER_DATA")
    return int(module.lay_out(settings.data))
