"""Every job as a command of its own, without Airflow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.context import COMMAND_LINE, JobContext
from jobs.settings import Settings
from lamplighter.console import run_and_exit

if TYPE_CHECKING:
    from collections.abc import Callable

Model = Annotated[str, typer.Option("--model", help="Name of a folder under models/.")]
PartitionKey = Annotated[str, typer.Option("--partition", help="Key of the partition, like 2013-03-01.")]
ResultFile = Annotated[Path | None, typer.Option("--result", help="Write the result as JSON to this file.")]
Run = Annotated[str, typer.Option("--run", help="Jobs of one run hand their results on under this name.")]


def register(app: typer.Typer) -> None:
    """Add the jobs to the command line, in the order in which they are run."""
    panel = "Jobs"
    for command in (input_gate, train, register_version, evaluate, judge, plan, score, output_gate, publish):
        name = "register" if command is register_version else command.__name__.replace("_", "-")
        app.command(name, rich_help_panel=panel)(command)


def _run(
    job: str, model: str, partition: str, run: str, result: Path | None, work: Callable[[JobContext], object]
) -> None:
    about = {"model": model, "partition": partition, "run": run}
    settings = Settings.from_environment()
    run_and_exit(job, lambda: work(JobContext.create(settings, model, partition, run)), result, about)


def input_gate(
    model: Model,
    partition: PartitionKey,
    purpose: Annotated[str, typer.Option("--for", help="score: the partition. train: the training window.")] = "score",
    run: Run = COMMAND_LINE,
    result: ResultFile = None,
) -> None:
    """Judge the input: expectations of the spec, rows are there, keys are unique."""
    from jobs.input_gate import input_gate as job

    _run("input-gate", model, partition, run, result, lambda context: job(context, purpose))


def train(model: Model, partition: PartitionKey, run: Run = COMMAND_LINE, result: ResultFile = None) -> None:
    """Train a candidate on the window that is mature at the end of the partition, and register it."""
    from jobs.train import train as job

    _run("train", model, partition, run, result, job)


def register_version(model: Model, partition: PartitionKey, run: Run = COMMAND_LINE, result: ResultFile = None) -> None:
    """Register what `train` of this run has logged; `train` does so itself, unless the registry was away."""
    from jobs.train import register as job

    _run("register", model, partition, run, result, job)


def evaluate(
    model: Model,
    partition: PartitionKey,
    version: Annotated[int | None, typer.Option(help="Evaluate this version instead of the trained one.")] = None,
    run: Run = COMMAND_LINE,
    result: ResultFile = None,
) -> None:
    """Measure the candidate and the champion on the same holdout rows."""
    from jobs.evaluate import evaluate as job

    _run("evaluate", model, partition, run, result, lambda context: job(context, version))


def judge(model: Model, partition: PartitionKey, run: Run = COMMAND_LINE, result: ResultFile = None) -> None:
    """Decide about the candidate: promote, keep, or first."""
    from jobs.judge import judge as job

    _run("judge", model, partition, run, result, job)


def plan(
    model: Model,
    partition: PartitionKey,
    version: Annotated[
        str, typer.Option(help="as-of (the partition's start), production (now), a number, or like 1.2.0.")
    ] = "as-of",
    run: Run = COMMAND_LINE,
    result: ResultFile = None,
) -> None:
    """Resolve the version and list the fragments to score."""
    from jobs.plan import plan as job

    _run("plan", model, partition, run, result, lambda context: job(context, version))


def score(
    model: Model,
    partition: PartitionKey,
    engine: Annotated[
        str | None, typer.Option(help="auto, local, dask or spark, instead of what the spec says.")
    ] = None,
    run: Run = COMMAND_LINE,
    result: ResultFile = None,
) -> None:
    """Score the fragments of the plan."""
    from jobs.score import score as job

    _run("score", model, partition, run, result, lambda context: job(context, engine))


def output_gate(model: Model, partition: PartitionKey, run: Run = COMMAND_LINE, result: ResultFile = None) -> None:
    """Judge the scores: every row once, finite, in range, rejects within the budget."""
    from jobs.output_gate import output_gate as job

    _run("output-gate", model, partition, run, result, job)


def publish(model: Model, partition: PartitionKey, run: Run = COMMAND_LINE, result: ResultFile = None) -> None:
    """Publish the scores in one atomic commit."""
    from jobs.publish import publish as job

    _run("publish", model, partition, run, result, job)
