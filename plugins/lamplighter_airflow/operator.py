"""The one operator: runs a job as a child process, and passes on its log, its result and its failure."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from jobs.spec import ModelSpec
from lamplighter_airflow.partitions import partition_of_run

RETRY = 1
LEVELS = {name: getattr(logging, name) for name in ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")}
GRACE_SECONDS = 10


class JobOperator(BaseOperator):
    """Runs `lamplighter <job> --model ... --partition ... --result FILE` and returns its small JSON result.

    A job that is about a version and not about a partition is not `partitioned`, and gets no `--partition`.

    Exit code 1 fails the task so that it is retried; every other failure fails it for good.
    """

    template_fields: Sequence[str] = ("arguments",)
    ui_color = "#fdf3d8"

    def __init__(
        self, *, job: str, model: str, arguments: Sequence[str] = (), partitioned: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.job = job
        self.model = model
        self.arguments = list(arguments)
        self.partitioned = partitioned
        self._child: subprocess.Popen[str] | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the job. Raises AirflowException to be retried, AirflowFailException not to be."""
        run = context["dag_run"]
        form = context["params"].get("partition")
        partition = partition_of_run(run.partition_key, form) if self.partitioned else None
        with tempfile.TemporaryDirectory(prefix="lamplighter-") as folder:
            result_file = Path(folder) / "result.json"
            code = self._run(self._command(partition, f"{run.dag_id} {run.run_id}", result_file), _actor(run))
            result = json.loads(result_file.read_text(encoding="utf-8")) if result_file.is_file() else {}
        if code == 0:
            self.report(context, result)
            return summary(result)
        message = result.get("message") or f"The job {self.job} ended with exit code {code}; its log is above."
        raise AirflowException(message) if code == RETRY or code < 0 else AirflowFailException(message)

    def report(self, context: Any, result: dict[str, Any]) -> None:
        """Called with the result of a job that is done; for operators that have more to say."""

    def on_kill(self) -> None:
        """End the job and all that it started, when the task is cleared, marked or timed out."""
        if self._child is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._child.pid, number)
                self._child.wait(GRACE_SECONDS)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue

    def _command(self, partition: str | None, run: str, result_file: Path) -> list[str]:
        command = [sys.executable, "-m", "lamplighter.cli", self.job, "--model", self.model]
        command += ["--partition", partition] if partition is not None else []
        return [*command, "--run", run, "--result", str(result_file), *self.arguments]

    def _run(self, command: list[str], actor: str) -> int:
        environment = os.environ | {"LAMPLIGHTER_ACTOR": actor, "LAMPLIGHTER_DIE_WITH_PARENT": str(os.getpid())}
        try:
            self._child = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                env=environment,
                start_new_session=True,
            )
        except ValueError as error:  # a NUL, or half of a character, from the form
            raise AirflowFailException(
                f"A field of the form holds a character that cannot be passed on: {error}."
            ) from error
        with self._child as child:
            for line in child.stdout or ():
                level, text = split_level(line.rstrip("\n"))
                if text:
                    self.log.log(level, "%s", text)
        return self._child.returncode


def task_defaults(spec: ModelSpec) -> dict[str, Any]:
    """Owner and retries of every task of a model: the first one soon, each further one after twice the wait."""
    retries = {"retries": spec.retries.attempts, "retry_delay": spec.retries.delay, "retry_exponential_backoff": 2.0}
    return {"owner": spec.owner, **retries}


def split_level(line: str) -> tuple[int, str]:
    """The level that a log line begins with, and the rest of it; a line without one is information."""
    word, _, rest = line.partition(" ")
    return (LEVELS[word], rest) if word in LEVELS else (logging.INFO, line)


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """What goes to XCom: the sentence, plain figures and texts, keys of partitions; versions by their number."""
    small: dict[str, Any] = {
        key: result[key] for key in ("job", "model", "partition", "status", "message") if key in result
    }
    for key, value in (result.get("result") or {}).items():
        if isinstance(value, dict) and "number" in value:
            small[key] = value["number"]
        elif isinstance(value, bool | int | float | str) or key == "partitions":
            small.setdefault(key, value)
    return small


def _actor(run: Any) -> str:
    return getattr(run, "triggering_user_name", None) or "airflow"
