"""Commands that answer: does a version come out again, what does a score rest on, what did a restatement change."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.errors import LamplighterError, Misconfigured
from jobs.settings import Settings
from lamplighter.console import fail, run_and_exit
from model_registry.codec import to_plain

Model = Annotated[str, typer.Argument(help="Name of a folder under models/.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (reproduce, lineage, diff):
        app.command(rich_help_panel="Answer")(command)


def reproduce(
    model: Model,
    version: Annotated[int, typer.Argument(help="Number of the version.", min=1)],
    result: Annotated[Path | None, typer.Option("--result", help="Write the result as JSON to this file.")] = None,
) -> None:
    """Train a version again from snapshot, code and seed, and compare digests: exits 3 when they differ."""
    from jobs.registry import open_registry
    from jobs.reproduce import reproduce as job

    settings = Settings.from_environment()
    about = {"model": model, "version": version}
    run_and_exit("reproduce", lambda: job(settings, open_registry(settings), model, version), result, about)


def lineage(
    model: Model,
    partition: Annotated[str | None, typer.Option(help="Backward: the published partition, like 2013-03-01.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="Also one row of it: repeat for each column of the key.")
    ] = None,
    trained_on: Annotated[str | None, typer.Option(help="Forward: what leans on this training partition.")] = None,
    table_version: Annotated[
        int | None, typer.Option(help="Backward from an earlier publication: its table version.", min=0)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False,
) -> None:
    """Show what a published score rests on, or which versions and scores lean on a training partition."""
    from jobs.lineage import leaning_on
    from jobs.lineage import lineage as backward
    from jobs.registry import open_registry
    from lamplighter.tables_lineage import print_leaning, print_lineage

    if (partition is None) == (trained_on is None) or ((key or table_version is not None) and partition is None):
        raise typer.BadParameter("give --partition (with --key for one row) or --trained-on, and not both")
    settings = Settings.from_environment()
    try:
        registry = open_registry(settings)
        if partition is not None:
            found = backward(settings, registry, model, partition, key, table_version)
        else:
            leaning = leaning_on(settings, registry, model, str(trained_on))
    except LamplighterError as error:
        fail(error)
    if as_json:
        rows = to_plain(found) if partition is not None else [to_plain(one) for one in leaning]
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif partition is not None:
        print_lineage(found)
    else:
        print_leaning(model, str(trained_on), leaning)


def diff(
    model: Model,
    partition: Annotated[str, typer.Option(help="The published partition, like 2013-03-01.")],
    before: Annotated[
        int | None, typer.Option(help="Table version that readers saw before; the publication before `--after`.", min=0)
    ] = None,
    after: Annotated[int | None, typer.Option(help="Table version that readers saw after; the newest.", min=0)] = None,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Compare with what the version in staging made of the same rows.")
    ] = False,
    picture: Annotated[Path | None, typer.Option(help="Also draw it, as a PNG in this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False,
) -> None:
    """Show what a restatement changed, or a shadow would: rows, distribution of the scores, largest movers."""
    from jobs.context import JobContext
    from jobs.diff import diff as job
    from jobs.diff_picture import picture as drawn
    from lamplighter.tables_diff import print_diff

    try:
        found = job(JobContext.create(Settings.from_environment(), model, partition), before, after, shadow=shadow)
        if picture is not None:
            _leave(picture, drawn(found))
    except LamplighterError as error:
        fail(error)
    if as_json:
        content = to_plain(found) | {"sentence": found.sentence()}
        typer.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        print_diff(found)


def _leave(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise Misconfigured(f"The picture cannot be written to {path}: {error.strerror}.") from error
