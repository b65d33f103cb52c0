"""The files of a version: what pins them, and how they get here.

The digest is a sha256 over the sorted manifest of all files. MLflow's own descriptor `MLmodel` carries the hour and the
run of its making, so it enters in a canonical form without them: the same training twice gives the same digest.
"""

from __future__ import annotations

import fcntl
import json
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
MANIFEST = "manifest.json"  # kept with the run: it tells which file was changed, and its digest is the version's
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


def cached(version: Version, cache: Path) -> Path | None:
    """The version's files in the local folder that `verified` left, checked against the digest, or None."""
    target = cache / version.digest
    return target if _matches(target, version) else None


def verified(store: RegistryStore, version: Version, cache: Path) -> Path:
    """The version's files in a local folder, named after the digest and checked against it before each use.

    Raises Tampered when the registry's files differ; a spoiled copy in the cache is replaced.
    """
    if (found := cached(version, cache)) is not None:
        return found
    target = cache / version.digest
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
            raise _tampered(store, version, fetched)
        if target.exists():
            shutil.rmtree(target)
        fetched.rename(target)


def inspect(store: RegistryStore, version: Version) -> None:
    """Raise Tampered, naming the files, when those in the registry are not the ones that were registered."""
    with tempfile.TemporaryDirectory(prefix="lamplighter-") as scratch:
        fetched = store.fetch(version, Path(scratch))
        if not _matches(fetched, version):
            raise _tampered(store, version, fetched)


def _tampered(store: RegistryStore, version: Version, fetched: Path) -> Tampered:
    what = _differences(store, version, fetched)
    return Tampered(
        f"The files of {version} do not give the digest {version.digest[:12]} that was registered: they were "
        f"changed after registration{what}. Roll back to another version, or retrain."
    )


def _differences(store: RegistryStore, version: Version, fetched: Path) -> str:
    """Which files were changed, added or are missing, where the run still has the manifest of the digest."""
    try:
        before = json.loads(store.run_file(version, MANIFEST) or "{}")
        now = manifest(fetched)
    except Tampered as error:  # a link or a device, named
        return f" ({str(error).split(':')[0]})"
    except (ValueError, AttributeError, yaml.YAMLError):
        return f" ({DESCRIPTOR} cannot be read)"
    if digest(before) != version.digest:
        return ""
    kinds = {
        "changed": [name for name in before if name in now and now[name] != before[name]],
        "added": [name for name in now if name not in before],
        "missing": [name for name in before if name not in now],
    }
    said = [f"{kind} {', '.join(sorted(names)[:5])}" for kind, names in kinds.items() if names]
    return f" ({'; '.join(said)})"


def _matches(folder: Path, version: Version) -> bool:
    try:
        return folder.is_dir() and digest_of(folder) == version.digest
    except (Tampered, yaml.YAMLError, AttributeError, ValueError, FileNotFoundError):  # spoiled, or going away
        return False
