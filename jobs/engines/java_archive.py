"""Java starts in half the time from an archive of the classes that Spark loads, made once when Lamplighter is set up.

Java itself looks whether an archive is of this Java and of these jars (JEP 350), and goes on without if it is not. It
does not look whether the file is whole, so its size is in its name.
"""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.prefix) / "share" / "lamplighter"  # it is of the jars that are installed here
QUIET = "-Xlog:cds=off -Xlog:cds+dynamic=off"  # Java tells of an archive that it does not take where our results are


def options() -> str:
    """What tells Java to start from the archive; nothing when there is none, or it is not whole."""
    for path in sorted(FOLDER.glob("spark-*.jsa")):
        if path.stem == f"spark-{path.stat().st_size}":
            return f"{QUIET} {shlex.quote(f'-XX:SharedArchiveFile={path}')}"
    return ""


def make() -> None:
    """Make the archive anew: start Spark, have it do a little, and let Java write down what it has loaded.

    Raises Misconfigured without Java, Unavailable when Spark does not start, and OSError.
    """
    from jobs.engines import spark

    FOLDER.mkdir(parents=True, exist_ok=True)
    draft = FOLDER / f"draft-{os.getpid()}.jsa"
    draft.unlink(missing_ok=True)
    try:
        with spark.SparkEngine(2, java=f"{QUIET} {shlex.quote(f'-XX:ArchiveClassesAtExit={draft}')}") as engine:
            list(engine.map(abs, range(4)))
            java = _process()
        java.stdin.close()  # it ends with us
        java.wait()
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        older = list(FOLDER.glob("spark-*.jsa"))
        made = draft.rename(FOLDER / f"spark-{draft.stat().st_size}.jsa")
        for path in older:
            if path != made:
                path.unlink(missing_ok=True)
    finally:
        draft.unlink(missing_ok=True)


def _process() -> Any:
    from pyspark import SparkContext

    return SparkContext._gateway.proc  # noqa: SLF001 - there is no other way to wait for it
