"""How commands speak: sentences for people on standard output, log lines on standard error, JSON in a file."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from jobs.errors import LamplighterError, Misconfigured, Rejected, disk_is_full, is_full_disk, of_the_machine
from model_registry.codec import to_plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

log = logging.getLogger("lamplighter")
STATUS = {1: "unavailable", 3: "rejected", 4: "misconfigured"}


def set_up_logging() -> None:
    """Log lines start with their level, so that whoever reads them line by line can keep it."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr, force=True)
    for noisy in ("alembic", "distributed", "great_expectations", "httpx", "mlflow", "py4j"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # its retries; that they failed is said in our own words
    logging.captureWarnings(capture=True)


def run_and_exit(job: str, work: Callable[[], object], result_file: Path | None, about: Mapping[str, object]) -> None:
    """Do the work of a job; tell people, write the result for machines, and exit with the code of what happened."""
    try:
        result = work()
    except LamplighterError as error:
        with _beside():
            _write(result_file, {"job": job, **about, "status": STATUS[error.exit_code], **_of_error(error)})
        fail(error)
    except Exception as error:
        if (known := of_the_machine(error)) is not None:
            with _beside():
                _write(result_file, {"job": job, **about, "status": STATUS[known.exit_code], **_of_error(known)})
            fail(known)
        message = f"{type(error).__name__}: {error}"[:500]
        with _beside():
            _write(result_file, {"job": job, **about, "status": "failed", "message": message, "result": None})
        raise
    message = sentence(result)
    try:
        _write(result_file, {"job": job, **about, "status": "done", "message": message, "result": to_plain(result)})
    except LamplighterError as error:
        fail(error)
    typer.echo(message)


def sentence(result: object) -> str:
    """What a result has to say for itself."""
    for name in ("sentence", "verdict"):
        said = getattr(result, name, None)
        if callable(said):
            return str(said())
        if isinstance(said, str):
            return said
    report = getattr(result, "report", None)
    return report.verdict() if report is not None else "Published already: nothing to judge."


def fail(error: LamplighterError) -> NoReturn:
    """Say what is wrong, and exit with the code of its group."""
    log.error("%s", error)
    raise typer.Exit(error.exit_code)


def _of_error(error: LamplighterError) -> dict[str, Any]:
    report = error.report if isinstance(error, Rejected) else None
    return {"message": str(error), "result": {"report": to_plain(report)} if report is not None else None}


def _write(path: Path | None, content: dict[str, Any]) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        if is_full_disk(error):
            raise disk_is_full(path.parent) from error
        raise Misconfigured(f"The result cannot be written to {path}: {error.strerror}.") from error


@contextmanager
def _beside() -> Iterator[None]:
    """What cannot be written about an error is said, and does not hide the error."""
    try:
        yield
    except LamplighterError as error:
        log.error("%s", error)  # noqa: TRY400 - the sentence says it all
