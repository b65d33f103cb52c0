"""Gate reports as one HTML page that needs nothing from outside: no script, no font, images inline."""

from __future__ import annotations

import logging
from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from jinja2 import Environment

    from model_registry.evidence import GateReport


log = logging.getLogger(__name__)


def render(template: str, plots: Mapping[str, bytes] | None = None, **content: object) -> str:
    """A page from one of our templates. `plots` maps captions to PNG images. All text is escaped."""
    images = [(caption, b64encode(image).decode()) for caption, image in (plots or {}).items()]
    page: str = _templates().get_template(template).render(plots=images, **content)
    return page


@cache
def _templates() -> Environment:
    """Our templates, each compiled once."""
    from jinja2 import Environment, PackageLoader

    return Environment(loader=PackageLoader("jobs"), autoescape=True)


def render_page(
    reports: Sequence[GateReport], sentences: Sequence[str] = (), plots: Mapping[str, bytes] | None = None
) -> str:
    """The page of some gate reports as HTML text."""
    title = f"{reports[0].gate.capitalize()} of {reports[0].subject}" if reports else "Report"
    return render("report.html", plots, title=title, reports=reports, sentences=sentences)


def write_page(path: Path, reports: Sequence[GateReport], **parts: object) -> None:
    """Write the page that `render_page` gives for the same arguments, and log where it is."""
    write_text(path, render_page(reports, **parts))  # type: ignore[arg-type]


def write_text(path: Path, page: str) -> None:
    """Write a page, and log where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    log.info("the report is %s", path)
