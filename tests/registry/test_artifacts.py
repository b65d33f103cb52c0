"""The digest that pins a version's files, and the verified copy of them in the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from model_registry.artifacts import MANIFEST, digest_of, inspect, manifest, verified
from model_registry.codec import write_json
from model_registry.errors import Tampered
from model_registry.memory_store import MemoryStore
from model_registry.store import Version

PROJECT = Path(__file__).resolve().parents[2]
Files = Callable[..., Path]


@dataclass
class SlowStore(MemoryStore):
    """The store in memory, as far away as a real one, and with a count of what was brought."""

    fetched: list[int] = field(default_factory=list)

    def fetch(self, version: Version, folder: Path) -> Path:
        self.fetched.append(version.number)
        time.sleep(0.05)
        return super().fetch(version, folder)


@pytest.fixture
def files(tmp_path: Path, model_files: Files) -> Path:
    """The files of a version as they lie in the registry."""
    return model_files(tmp_path / "registry" / "model")


@pytest.fixture
def version(files: Path, version_of: Callable[..., Version]) -> Version:
    """The version that they are registered as."""
    return version_of(1, digest=digest_of(files), artifact_uri=str(files))


def test_the_manifest_names_every_file_below_the_folder(files: Path) -> None:
    assert list(manifest(files)) == ["MLmodel", "coefficients.json", "compiled/leaves.bin"]
    assert all(len(entry) == 64 for entry in manifest(files).values())


def test_the_digest_does_not_depend_on_the_run_or_the_hour(tmp_path: Path, model_files: Files) -> None:
    one = model_files(tmp_path / "one", mlflow_run_id="a1", hour="01:00:00")
    two = model_files(tmp_path / "two", mlflow_run_id="b2", hour="02:30:00")
    assert (one / "MLmodel").read_bytes() != (two / "MLmodel").read_bytes()
    assert digest_of(one) == digest_of(two)


def test_what_mlflow_adds_to_a_download_is_not_of_the_version(files: Path) -> None:
    before = digest_of(files)
    (files / "registered_model_meta").write_text("model_name: flight_delays")
    assert digest_of(files) == before
    (files / "compiled" / "registered_model_meta").write_text("hidden below")
    assert digest_of(files) != before


def _flip(name: str, position: int) -> Callable[[Path], object]:
    def flip(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[position] ^= 1
        (folder / name).write_bytes(content)

    return flip


CHANGES: dict[str, Callable[[Path], object]] = {
    "first byte": _flip("compiled/leaves.bin", 0),
    "last byte": _flip("compiled/leaves.bin", -1),
    "a byte of text": _flip("coefficients.json", 3),
    "shorter": lambda folder: os.truncate(folder / "compiled" / "leaves.bin", 63),
    "emptied": lambda folder: (folder / "coefficients.json").write_bytes(b""),
    "added": lambda folder: (folder / "extra.py").write_text("import os"),
    "added out of sight": lambda folder: (folder / ".hidden").write_text("import os"),
    "missing": lambda folder: (folder / "coefficients.json").unlink(),
    "renamed": lambda folder: (folder / "coefficients.json").rename(folder / "coefficient.json"),
    "moved": lambda folder: (folder / "compiled" / "leaves.bin").rename(folder / "leaves.bin"),
    "loader": lambda folder: (folder / "MLmodel").write_text(
        (folder / "MLmodel").read_text().replace("loader_module: lamplighter", "loader_module: antigravity")
    ),
    "descriptor gone": lambda folder: (folder / "MLmodel").unlink(),
    "descriptor empty": lambda folder: (folder / "MLmodel").write_bytes(b""),
    "descriptor torn": lambda folder: (folder / "MLmodel").write_text("flavors: {"),
    "descriptor of bytes": lambda folder: (folder / "MLmodel").write_bytes(b"\xff\xfe\x00"),
    "descriptor of mixed keys": lambda folder: (folder / "MLmodel").write_text("1: a\nflavors: b\n"),
    "symbolic link": lambda folder: (folder / "link").symlink_to("/etc/hostname"),
    "link instead of a file": lambda folder: _link_instead(folder / "coefficients.json"),
    "pipe": lambda folder: os.mkfifo(folder / "pipe"),
}


def _link_instead(file: Path) -> None:
    aside = file.parent.parent / "aside.json"
    file.rename(aside)
    file.symlink_to(aside)


changed = pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())


@changed
def test_any_change_in_the_registry_is_tampering(
    files: Path, version: Version, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    change(files)
    if (files / "pipe").exists():
        with pytest.raises(Tampered, match="pipe"):
            digest_of(files)  # a pipe cannot even be copied from a registry
        return
    with pytest.raises(Tampered, match=r"changed after registration.*\. Roll back to another version, or retrain"):
        verified(MemoryStore(), version, tmp_path / "cache")
    assert not (tmp_path / "cache" / version.digest).exists()


@changed
def test_a_spoiled_copy_in_the_cache_is_replaced(
    files: Path, version: Version, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    change(verified(MemoryStore(), version, tmp_path / "cache"))
    assert digest_of(verified(MemoryStore(), version, tmp_path / "cache")) == version.digest
    assert (tmp_path / "cache" / version.digest / "coefficients.json").read_bytes() == (
        files / "coefficients.json"
    ).read_bytes()


def test_a_link_is_named(files: Path) -> None:
    (files / "compiled" / "link").symlink_to(files / "MLmodel")
    with pytest.raises(Tampered, match=r"compiled/link .*is a link or a device"):
        manifest(files)


def test_a_good_copy_in_the_cache_is_used_without_the_registry(files: Path, version: Version, tmp_path: Path) -> None:
    store = SlowStore()
    first = verified(store, version, tmp_path / "cache")
    shutil.rmtree(files)
    assert verified(store, version, tmp_path / "cache") == first == tmp_path / "cache" / version.digest
    assert store.fetched == [1]


def test_nothing_but_the_copy_stays_in_the_cache(version: Version, tmp_path: Path) -> None:
    verified(MemoryStore(), version, tmp_path / "cache")
    assert [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()] == [version.digest]


@pytest.mark.parametrize("spoiled", [False, True])
def test_those_who_come_at_once_share_one_copy(version: Version, tmp_path: Path, spoiled: bool) -> None:
    """None may remove what another has been handed already."""
    store, cache, start = SlowStore(), tmp_path / "cache", threading.Barrier(4)
    if spoiled:
        (verified(store, version, cache) / "coefficients.json").write_text("spoiled")
        store.fetched.clear()

    def bring() -> int:
        start.wait()
        return verified(store, version, cache).stat().st_ino

    with ThreadPoolExecutor(4) as pool:
        handed = {future.result() for future in [pool.submit(bring) for _ in range(4)]}
    assert handed == {(cache / version.digest).stat().st_ino}
    assert store.fetched == [1]


BRINGING = """
import sys
from pathlib import Path
from model_registry.artifacts import digest_of, verified
from model_registry.codec import from_json
from model_registry.memory_store import MemoryStore
from model_registry.store import Version

version = from_json(Version, Path(sys.argv[1]).read_text())
for cache in sorted(Path(sys.argv[2]).iterdir()):
    assert digest_of(verified(MemoryStore(), version, cache)) == version.digest
"""


def test_two_processes_at_once_are_fine(version: Version, tmp_path: Path) -> None:
    for number in range(60):
        cache = tmp_path / "caches" / f"{number:02}"
        cache.mkdir(parents=True)
        if number % 2:
            (verified(MemoryStore(), version, cache) / "coefficients.json").write_text("spoiled")
    write_json(tmp_path / "version.json", version)
    command: list[Any] = [sys.executable, "-c", BRINGING, tmp_path / "version.json", tmp_path / "caches"]
    running = [subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], said


def test_what_was_changed_added_or_taken_away_is_named(files: Path, version: Version, tmp_path: Path) -> None:
    (files.parent / MANIFEST).write_text(json.dumps(manifest(files)))
    (files / "coefficients.json").write_text("changed")
    (files / "compiled" / "leaves.bin").unlink()
    (files / "extra.bin").write_bytes(b"x")
    for look in (lambda: inspect(MemoryStore(), version), lambda: verified(MemoryStore(), version, tmp_path / "cache")):
        with pytest.raises(Tampered, match=r"changed coefficients.json; added extra.bin; missing compiled/leaves.bin"):
            look()


def test_a_manifest_of_something_else_explains_nothing(files: Path, version: Version) -> None:
    (files.parent / MANIFEST).write_text(json.dumps({"other.bin": "0"}))
    (files / "coefficients.json").write_text("changed")
    with pytest.raises(Tampered, match=r"changed after registration\. Roll back"):
        inspect(MemoryStore(), version)


def test_an_untouched_version_passes_inspection(files: Path, version: Version) -> None:
    inspect(MemoryStore(), version)
