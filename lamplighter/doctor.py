"""`lamplighter doctor`: is everything here that is needed, and if not, what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jobs.errors import LamplighterError
from jobs.settings import PROJECT, Settings
from jobs.spec_file import load_pipeline_module, load_spec, model_names
from lamplighter import stack
from lamplighter.processes import port_is_taken


class State(StrEnum):
    """How a finding is to be taken."""

    fine = "fine"
    note = "note"
    fault = "fault"


@dataclass(frozen=True)
class Finding:
    """What was looked at, what was found, and what to do about it (empty when fine)."""

    subject: str
    state: State
    found: str
    remedy: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at Python, Java, ports, disk, models, ledger, MLflow and Airflow."""
    running = stack.running(settings)
    looks: list[Callable[[], Finding]] = [
        _python,
        _java,
        *(lambda name=name: _port(name, running) for name in ("airflow", "mlflow")),
        lambda: _disk(settings),
        lambda: _models(settings),
        lambda: _ledger(settings),
        lambda: _mlflow(settings, running),
        lambda: _airflow(running),
    ]
    return [look() for look in looks]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    differing = _not_as_locked(PROJECT / "requirements.txt")
    if differing:
        shown = ", ".join(differing[:5]) + (f" and {len(differing) - 5} more" if len(differing) > 5 else "")
        return Finding("Python", State.fault, f"{found}, not as locked: {shown}", "Run `make clean run`.")
    return Finding("Python", State.fine, f"{found}, packages as locked")


def _not_as_locked(lock: Path) -> list[str]:
    """The packages that are not installed in the version that the lock names."""
    from packaging.requirements import Requirement

    lines = lock.read_text(encoding="utf-8").splitlines() if lock.is_file() else []
    pins = [Requirement(line.rstrip("\\ ")) for line in lines if line[:1].isalnum()]
    differing = []
    for pin in pins:
        if pin.marker is not None and not pin.marker.evaluate():
            continue
        try:
            as_locked = pin.specifier.contains(version(pin.name), prereleases=True)
        except PackageNotFoundError:
            as_locked = False
        if not as_locked:
            differing.append(pin.name)
    return differing


def _java() -> Finding:
    from jobs.engines.spark import find_java

    java = find_java()
    if java is None:
        remedy = "Only the Spark engine needs it: install Java 17, on Debian `apt-get install openjdk-17-jre-headless`."
        return Finding("Java", State.note, "none", remedy)
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr.splitlines()
    named = said[0] if said else "it does not say its version"
    if any(f'"{good}' in named for good in ("17", "21")):
        return Finding("Java", State.fine, named)
    return Finding("Java", State.note, named, "Only the Spark engine needs it: install Java 17 or 21, set JAVA_HOME.")


def _port(name: str, running: stack.Stack | None) -> Finding:
    subject = f"Port of {stack.TITLES[name]}"
    try:
        port = stack.port_of(name)
    except LamplighterError as error:
        return Finding(subject, State.fault, "not a port", str(error))
    if running is not None:
        ours = running.airflow_port if name == "airflow" else running.mlflow_port
        return Finding(subject, State.fine, f"{ours}, ours")
    if port_is_taken(port):
        remedy = f"Stop what listens there, or set LAMPLIGHTER_{name.upper()}_PORT to another port."
        return Finding(subject, State.fault, f"{port} is taken", remedy)
    return Finding(subject, State.fine, f"{port} is free")


def _disk(settings: Settings) -> Finding:
    place = next(p for p in (settings.home, *settings.home.parents) if p.exists())
    free = shutil.disk_usage(place).free // 1_000_000
    if free < stack.DISK_MB:
        return Finding("Disk", State.fault, f"{free} MB free", f"Free some: a demo needs {stack.DISK_MB} MB.")
    return Finding("Disk", State.fine, f"{free:,} MB free")


def _models(settings: Settings) -> Finding:
    names = model_names(settings.models)
    faults = []
    for name in names:
        try:
            load_spec(settings.models, name)
            load_pipeline_module(settings.models, name)
        except LamplighterError as error:
            faults.append(str(error))
    if not names:
        return Finding("Models", State.fault, "none", "Add a folder under models/ (README: Add your model).")
    if faults:
        return Finding("Models", State.fault, f"{len(faults)} of {len(names)} cannot be used", "\n".join(faults))
    return Finding("Models", State.fine, ", ".join(names))


def _ledger(settings: Settings) -> Finding:
    from jobs.registry import prepare_mlflow
    from model_registry.ledger import Ledger

    try:
        prepare_mlflow(settings)
        ledger = Ledger(settings.ledger_url)
        with ledger.reading() as session:
            session.history("doctor")
    except LamplighterError as error:
        return Finding("Ledger", State.fault, "does not answer", f"{error} Check LAMPLIGHTER_LEDGER_URL.")
    return Finding("Ledger", State.fine, settings.ledger_url.split("://", 1)[0])


def _mlflow(settings: Settings, running: stack.Stack | None) -> Finding:
    from jobs.registry import open_registry

    where = settings.tracking_uri.split("://", 1)[0]
    if where == "sqlite" and running is None and not (settings.home / "mlflow" / "mlflow.db").is_file():
        return Finding("MLflow", State.note, "nothing kept yet", "Run `make run` or train a model.")
    try:
        open_registry(settings).store.versions("doctor")
    except LamplighterError as error:
        return Finding(
            "MLflow", State.fault, "does not answer", f"{error} Check MLFLOW_TRACKING_URI, or `lamplighter up`."
        )
    return Finding("MLflow", State.fine, f"{where} answers" + (f", {running.mlflow_url}" if running else ""))


def _airflow(running: stack.Stack | None) -> Finding:
    if running is None:
        return Finding("Airflow", State.note, "not running here", "Start it with `lamplighter up`.")
    state = stack.health(running)
    if state:
        return Finding("Airflow", State.fault, state, "Run `lamplighter down` and `lamplighter up`; see its log.")
    return Finding("Airflow", State.fine, f"healthy, {running.airflow_url}")
