"""Alerts: a log line for everybody, and whatever command or address the environment names."""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobs.errors import in_brief
from jobs.settings import Settings
from jobs.spec_file import load_spec
from model_registry.codec import to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)
PATIENCE = 30
COMMAND, URL = "LAMPLIGHTER_ALERT_COMMAND", "LAMPLIGHTER_ALERT_URL"


@dataclass(frozen=True)
class Alert:
    """Something that a person should know now."""

    kind: str
    model: str
    partition: str
    message: str


def partition_is_late(model: str, partition: str, deadline: str, env: Mapping[str, str] | None = None) -> str:
    """Raise an alert unless the partition is published by now, and readers see it; returns what was said."""
    from jobs.as_published import AsPublished

    there, why = None, ""
    try:
        settings = Settings.from_environment(env)
        seen = AsPublished(settings, load_spec(settings.models, model))
        there = next((found for found in reversed(seen.publications) if found.partition == partition), None)
        if there is not None:
            why = seen.why_not(there)
    except Exception as error:  # noqa: BLE001 - whatever keeps us from looking, keeps the night from its work, too
        there, why = None, f"Whether it is cannot be told: {in_brief(error)}."
    if there is not None and not why:
        said = f"{model} {partition} is published by version {there.version}: no alert."
        log.info(said)
        return said
    message = f"{model} {partition} is not published, and was to be by {deadline}: look at score_{model} in Airflow."
    if there is not None:
        message = f"{model} {partition} is not what version {there.version} published any more: score it again."
    message = f"{message} {why}".rstrip()
    send(Alert("deadline", model, partition, message), env)
    return message


def send(alert: Alert, env: Mapping[str, str] | None = None) -> list[str]:
    """Log an alert as an error, run the command and post to the address; returns what of that did not work.

    The command is `LAMPLIGHTER_ALERT_COMMAND`, split like a shell does and run without one; it gets the alert as JSON
    on standard input. `LAMPLIGHTER_ALERT_URL` is posted the same JSON.
    """
    env = os.environ if env is None else env
    log.error("%s", alert.message)
    faults = []
    if command := env.get(COMMAND):
        faults += _run(command, to_json(alert))
    if url := env.get(URL):
        faults += _post(url, to_json(alert))
    for fault in faults:
        log.error("%s", fault)
    return faults


def _run(command: str, text: str) -> list[str]:
    try:
        done = subprocess.run(
            shlex.split(command), input=text, text=True, capture_output=True, timeout=PATIENCE, check=False
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return [f"{COMMAND} could not be run: {type(error).__name__}."]
    return [f"{COMMAND} ended with exit code {done.returncode}."] if done.returncode else []


def _post(url: str, text: str) -> list[str]:
    import httpx

    try:
        answer = httpx.post(url, json=json.loads(text), timeout=PATIENCE)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [f"{URL} does not answer: {type(error).__name__}."]
    return [f"{URL} answered {answer.status_code}."] if answer.is_error else []
