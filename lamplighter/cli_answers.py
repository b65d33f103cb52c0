"""Commands that answer the auditor: does a version come out the same again, and what does a score rest on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from jobs.errors import LamplighterError
from jobs.settings import Settings
from lamplighter.console import fail, run_and_exit
from model_registry.codec import to_plain

Model = Annotated[str, typer.Argument(help="Name of a folder under models/.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (reproduce, lineage):
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
