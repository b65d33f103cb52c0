"""Java starts from the archive of classes that setting up makes, and never from one that is not whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.engines import java_archive
from jobs.engines.spark import find_java

IN = "from pathlib import Path; from jobs.engines import java_archive as a; a.FOLDER = Path({!r})\n"
LOADED = (
    "from jobs.engines.spark import SparkEngine\n"
    "with SparkEngine(1): print('loaded:', str(a.FOLDER) in Path(f'/proc/{a._process().pid}/maps').read_text())\n"
)


def python(folder: Path, code: str) -> str:
    """What a process of its own says: of Java there is one in a process."""
    command = [sys.executable, "-c", IN.format(str(folder)) + code]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_java_starts_from_the_archive_that_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "with a space"
    folder.mkdir()
    (folder / "spark-7.jsa").write_bytes(b"of old")
    assert "loaded: False" in python(folder, LOADED)
    python(folder, "a.make()")
    [archive] = folder.iterdir()
    assert archive.stat().st_size > 10_000_000
    assert "loaded: True" in python(folder, LOADED)
    monkeypatch.setattr(java_archive, "FOLDER", folder)
    of_other_jars = [str(find_java()), *java_archive.options().replace("'", "").split(" ", 2), "-cp", str(tmp_path)]
    done = subprocess.run([*of_other_jars, "-version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_an_archive_that_is_cut_off_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java_archive, "FOLDER", tmp_path)
    assert java_archive.options() == ""
    (tmp_path / "spark-7.jsa").write_bytes(b"1234567")
    assert java_archive.options().endswith(f" -XX:SharedArchiveFile={tmp_path}/spark-7.jsa")
    (tmp_path / "spark-7.jsa").write_bytes(b"123456")
    assert java_archive.options() == ""
