"""Gate reports as one HTML page that needs nothing from outside: no script, no font, images inline."""

from __future__ import annotations

import logging
from base64 import b64encode
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from model_registry.evidence import GateReport


log = logging.getLogger(__name__)


def render_page(
    reports: Sequence[GateReport], sentences: Sequence[str] = (), plots: Mapping[str, bytes] | None = None
) -> str:
    """The page as HTML text. `plots` maps captions to PNG images. All text is escaped."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(loader=PackageLoader("jobs"), autoescape=True)
    title = f"{reports[0].gate.capitalize()} of {reports[0].subject}" if reports else "Report"
    images = [(caption, b64encode(image).decode()) for caption, image in (plots or {}).items()]
    page: str = environment.get_template("report.html").render(
        title=title, reports=reports, sentences=sentences, plots=images
    )
    return page


def write_page(path: Path, reports: Sequence[GateReport], **parts: object) -> None:
    """Write the page that `render_page` gives for the same arguments, and log where it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_page(reports, **parts), encoding="utf-8")  # type: ignore[arg-type]
    log.info("the report is %s", path)
