"""What the run of a version kept about its making, checked against what was pinned at registration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs.code_version import ENVIRONMENT_FILE, Environment, ModelCode
from jobs.errors import Tampered
from jobs.snapshot import SNAPSHOT_FILE, Snapshot
from jobs.spec_file import PIPELINE_FILE, SPEC_FILE
from model_registry.codec import from_json

if TYPE_CHECKING:
    from model_registry.store import RegistryStore, Version


def code_of(store: RegistryStore, version: Version) -> ModelCode:
    """The model.yaml and pipeline.py that the version was trained with. Raises Tampered when they are not those."""
    spec, pipeline = (store.run_file(version, name) for name in (SPEC_FILE, PIPELINE_FILE))
    if spec is None or pipeline is None:
        raise _tampered(version, f"{SPEC_FILE} or {PIPELINE_FILE}", "is missing")
    code = ModelCode(spec, pipeline)
    if code.digest != version.code:
        raise _tampered(version, f"{SPEC_FILE} or {PIPELINE_FILE}", "was changed after registration and is not run")
    return code


def snapshot_of(store: RegistryStore, version: Version) -> Snapshot:
    """Which rows the version was trained and evaluated on. Raises Tampered when that was changed."""
    text = store.run_file(version, SNAPSHOT_FILE)
    if text is None:
        raise _tampered(version, SNAPSHOT_FILE, "is missing")
    try:
        snapshot = from_json(Snapshot, text)
    except ValueError:
        raise _tampered(version, SNAPSHOT_FILE, "cannot be read") from None
    if snapshot.digest != version.snapshot or snapshot.model != version.model:
        raise _tampered(version, SNAPSHOT_FILE, "was changed after registration")
    return snapshot


def environment_of(store: RegistryStore, version: Version) -> Environment | None:
    """Where the version was fitted, or None when its run does not say so. Nothing pins it: it only explains."""
    text = store.run_file(version, ENVIRONMENT_FILE)
    try:
        return None if text is None else from_json(Environment, text)
    except ValueError:
        return None


def _tampered(version: Version, what: str, how: str) -> Tampered:
    return Tampered(
        f"{what} of the run of {version} {how}: restore the run {version.mlflow_run_id} in MLflow from a backup, or "
        f"retrain the model."
    )
