"""Commands that move versions: promote, challenge, archive, roll back; and the report that they rest on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.context import COMMAND_LINE, JobContext
from jobs.settings import Settings
from lamplighter.console import run_and_exit

if TYPE_CHECKING:
    from datetime import datetime

    from jobs.moves import Wish

Model = Annotated[str, typer.Option("--model", help="Name of a folder under models/.")]
Version = Annotated[str | None, typer.Option("--version", help="Its number, or its semantic version like 1.2.0.")]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the ledger.")]
Since = Annotated[
    str | None, typer.Option("--from", help="From which partition on it counts, like 2013-03-01 (default: see above).")
]
Run = Annotated[str, typer.Option("--run", help="Name of the run that asks; asked again, nothing is done twice.")]
ResultFile = Annotated[Path | None, typer.Option("--result", help="Write the result as JSON to this file.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (promote, challenge, archive, roll_back, report):
        app.command(command.__name__.replace("_", "-"), rich_help_panel="Registry")(command)


def promote(
    model: Model,
    partition: Annotated[str | None, typer.Option(help="Promote what this partition's retrain has judged.")] = None,
    version: Version = None,
    to: Annotated[str | None, typer.Option(help="production or staging, instead of what the spec says.")] = None,
    reason: Reason = "",
    override: Annotated[bool, typer.Option("--override", help="Although its gate is closed; needs --until.")] = False,
    until: Annotated[str | None, typer.Option(help="With which partition an override ends, like 2013-06-01.")] = None,
    since: Since = None,
    approved_by: Annotated[str | None, typer.Option(help="Who agreed, where the spec wants an approval.")] = None,
    run: Run = COMMAND_LINE,
    result: ResultFile = None,
) -> None:
    """Bring a version to production: what `judge` decided for a partition, or any version that passed its gate.

    For a partition it counts from the partition's end, for a version from now on.
    """
    from jobs.errors import Misconfigured
    from jobs.moves import promote as job
    from jobs.moves import promote_version, stage_called
    from model_registry.store import Stage

    about = {"model": model, "partition": partition, "run": run}

    def work() -> object:
        wish = _wish(model, reason, version, since, until, approved_by, run)
        if override != (until is not None):
            raise Misconfigured("An override has an end: give --override and --until DATE together.")
        if override and not reason.strip():
            raise Misconfigured("An override needs a reason, for whoever asks in a year: give one with --reason.")
        stage = stage_called(to) if to else None
        if version is not None:
            return promote_version(wish, stage or Stage.production)
        if partition is None:
            raise Misconfigured("What is to be promoted? Name a version with --version, or a --partition.")
        return job(JobContext.create(wish.settings, model, partition, run), stage, wish)

    run_and_exit("promote", work, result, about)


def challenge(
    model: Model, version: Version = None, reason: Reason = "", run: Run = COMMAND_LINE, result: ResultFile = None
) -> None:
    """Put a version that passed its gate into staging, where it waits for its promotion."""
    from jobs.moves import challenge as job

    about = {"model": model, "run": run}
    run_and_exit("challenge", lambda: job(_wish(model, reason, version, run=run)), result, about)


def archive(
    model: Model, version: Version = None, reason: Reason = "", run: Run = COMMAND_LINE, result: ResultFile = None
) -> None:
    """Put a version aside, so that no roll back returns to it."""
    from jobs.moves import archive as job

    about = {"model": model, "run": run}
    run_and_exit("archive", lambda: job(_wish(model, reason, version, run=run)), result, about)


def roll_back(
    model: Model,
    reason: Reason = "",
    withdraw: Annotated[str | None, typer.Option(help="The version to withdraw (default: that in production).")] = None,
    since: Since = None,
    rescore: Annotated[bool, typer.Option("--rescore", help="Score its partitions again, here and now.")] = False,
    run: Run = COMMAND_LINE,
    result: ResultFile = None,
) -> None:
    """Return to the version that was in production before, and list what the withdrawn one has published.

    It counts from when the withdrawn version began to be in production, so that its partitions can be scored again.
    """
    from jobs.moves import roll_back as job
    from jobs.rescore import rescore as score_again

    about = {"model": model, "run": run}

    def work() -> object:
        done = job(_wish(model, reason, withdraw, since, run=run))
        if not rescore or not done.partitions:
            return done
        typer.echo(done.told())
        return score_again(Settings.from_environment(), model, done.partitions, f"roll back of {done.withdrawn}")

    run_and_exit("roll-back", work, result, about)


def report(
    model: Model,
    version: Version = None,
    run: Run = COMMAND_LINE,
    result: ResultFile = None,
) -> None:
    """Show the report of a version's metric gate, as Markdown: what was asked, and what was found."""
    from jobs.moves import report_of

    run_and_exit("report", lambda: report_of(_wish(model, "reading", version)), result, {"model": model, "run": run})


def _wish(
    model: str,
    reason: str,
    version: str | None,
    since: str | None = None,
    until: str | None = None,
    approved_by: str | None = None,
    run: str = COMMAND_LINE,
) -> Wish:
    from jobs.moves import Wish

    settings = Settings.from_environment()
    begins, ends = (_instant(settings, model, text) if text else None for text in (since, until))
    return Wish(settings, model, reason, version or None, begins, ends, approved_by or None, run)


def _instant(settings: Settings, model: str, text: str) -> datetime:
    from jobs.history import parse_instant
    from jobs.spec_file import load_spec

    return parse_instant(text, load_spec(settings.models, model).source.calendar)
