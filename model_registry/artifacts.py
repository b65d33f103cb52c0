"""The files of a version: what pins them, and how they get here.

The digest is a sha256 over the sorted manifest of all files. MLflow's own descriptor `MLmodel` carries the hour and the
run of its making, so it enters in a canonical form without them: the same training twice gives the same digest.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from model_registry.codec import digest
from model_registry.errors import Tampered

if TYPE_CHECKING:
    from model_registry.store import RegistryStore, Version

DESCRIPTOR = "MLmodel"
OF_THE_RUN = ("artifact_path", "mlflow_version", "model_id", "model_uuid", "run_id", "utc_time_created")
MLFLOWS_OWN = ("registered_model_meta",)  # written by MLflow into what it downloads


def manifest(folder: Path) -> dict[str, str]:
    """Every file below `folder` by its relative path, with the sha256 of its (canonical) content.

    Raises Tampered for anything that is neither a file nor a folder, a symbolic link first of all.
    """
    entries = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise Tampered(f"{name} in the files of a version is a link or a device: register the version again.")
        if path.is_file() and name not in MLFLOWS_OWN:
            entries[name] = _canonical_digest(path) if name == DESCRIPTOR else sha256(path.read_bytes()).hexdigest()
    return entries


def _canonical_digest(descriptor: Path) -> str:
    fields = yaml.safe_load(descriptor.read_text(encoding="utf-8"))
    return digest({key: value for key, value in fields.items() if key not in OF_THE_RUN})


def digest_of(folder: Path) -> str:
    """The digest that pins the files below `folder`."""
    return digest(manifest(folder))


def verified(store: RegistryStore, version: Version, cache: Path) -> Path:
    """The version's files in a local folder, named after the digest and checked against it before each use.

    Raises Tampered when the registry's files differ; a spoiled copy in the cache is replaced.
    """
    target = cache / version.digest
    if _matches(target, version):
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{version.digest}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # until it is closed: nobody removes what another has just been handed
        if not _matches(target, version):
            _bring(store, version, target)
    return target


def _bring(store: RegistryStore, version: Version, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".fetch-") as scratch:
        fetched = store.fetch(version, Path(scratch))
        if not _matches(fetched, version):
            raise Tampered(
                f"The files of {version} do not give the digest {version.digest[:12]} that was registered: they were "
                f"changed after registration. Roll back to another version, or retrain."
            )
        if target.exists():
            shutil.rmtree(target)
        fetched.rename(target)


def _matches(folder: Path, version: Version) -> bool:
    try:
        return folder.is_dir() and digest_of(folder) == version.digest
    except (Tampered, yaml.YAMLError, AttributeError, ValueError, FileNotFoundError):  # spoiled, or going away
        return False
