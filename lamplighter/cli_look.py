"""Commands that only look: status, doctor, spec."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from jobs.errors import InvalidSpec, LamplighterError
from jobs.settings import Settings
from lamplighter.console import fail, run_and_exit
from model_registry.codec import to_plain

spec_app = typer.Typer(help="Check specs, and describe what a spec may say.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command(rich_help_panel="Jobs")(vacuum)
    for command in (status, history, doctor):
        app.command(rich_help_panel="Look")(command)
    app.add_typer(spec_app, name="spec", rich_help_panel="Look")


def status(as_json: Annotated[bool, typer.Option("--json", help="As JSON, for machines.")] = False) -> None:
    """Show the stages of every model, and the partitions that are published."""
    from jobs.registry import open_registry
    from jobs.status import status as read

    settings = Settings.from_environment()
    try:
        found = read(settings, open_registry(settings))
    except LamplighterError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        from lamplighter.tables import print_status

        print_status(found)
    faults = [*found.get("invalid", {}).values(), *found.get("problems", {}).values()]
    if faults:
        fail(InvalidSpec("\n".join(faults)))


def history(
    model: Annotated[str, typer.Argument(help="Name of a folder under models/.")],
    at: Annotated[
        str | None,
        typer.Option(help="Only what was in force for this partition, or at an instant like 2013-03-05T12:00Z."),
    ] = None,
    known_at: Annotated[str | None, typer.Option(help="As the ledger knew it at this instant of the clock.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As a list of rows, for machines.")] = False,
) -> None:
    """Show who moved which version to which stage, when, why, on which evidence; or what was in force at a time."""
    from jobs.decisions import kept_back
    from jobs.history import moves, parse_instant
    from jobs.registry import open_registry
    from jobs.spec_file import load_spec
    from lamplighter.tables import print_history

    settings = Settings.from_environment()
    try:
        calendar = load_spec(settings.models, model).source.calendar
        instants = [parse_instant(text, calendar) if text else None for text in (at, known_at)]
        registry = open_registry(settings)
        found = moves(settings, registry, model, *instants)
    except LamplighterError as error:
        fail(error)
    if as_json:
        typer.echo(json.dumps([to_plain(row) for row in found], indent=2))
    else:
        refused = kept_back(registry, model) if at is None and known_at is None else None
        print_history(model, found, refused)


def vacuum(
    model: Annotated[str, typer.Argument(help="Name of a folder under models/.")],
    days: Annotated[float, typer.Option(help="Age of what an attempt at work might still need.", min=0, max=36500)] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove the files of attempts that never published; every publication is kept for time travel."""
    from datetime import timedelta

    from jobs.spec_file import load_spec
    from jobs.vacuum import vacuum as job

    settings = Settings.from_environment()
    older_than = timedelta(days=days)
    work = lambda: job(settings, load_spec(settings.models, model), older_than, dry_run=dry_run)  # noqa: E731
    run_and_exit("vacuum", work, None, {"model": model})


def doctor() -> None:
    """Check Python, Java, ports, disk, models, ledger, MLflow and Airflow, with a remedy for each."""
    from lamplighter.doctor import State, examine
    from lamplighter.tables import print_findings

    findings = examine(Settings.from_environment())
    print_findings(findings)
    if any(finding.state is State.fault for finding in findings):
        raise typer.Exit(4)


@spec_app.command()
def check(model: Annotated[str | None, typer.Option(help="Only this model.")] = None) -> None:
    """Check the spec, the pipeline and the input checks of every model, and name all faults."""
    from jobs.expect import check_expectations
    from jobs.fit import built
    from jobs.source import check_columns
    from jobs.spec_file import load_pipeline_module, load_spec, model_names

    models = Settings.from_environment().models
    faults = []
    tables: dict[str, str] = {}
    for name in [model] if model else model_names(models):
        try:
            spec = load_spec(models, name)
            other = tables.setdefault(spec.output.table, name)
            if other != name:
                faults.append(f"{name}: output.table {spec.output.table} is that of {other}, too: give each its own.")
            check_columns(spec)
            built(load_pipeline_module(models, name), spec)
            check_expectations(spec)
            if other == name:
                typer.echo(f"{name}: the spec is fine.")
        except LamplighterError as error:
            faults.append(str(error))
    if faults:
        fail(InvalidSpec("\n".join(faults)))


@spec_app.command()
def schema() -> None:
    """Print the JSON Schema of model.yaml, for editors."""
    from lamplighter.reference import schema as made

    typer.echo(json.dumps(made(), indent=2))


@spec_app.command()
def reference() -> None:
    """Print the reference of model.yaml as Markdown."""
    from lamplighter.reference import reference as made

    typer.echo(made(), nl=False)
