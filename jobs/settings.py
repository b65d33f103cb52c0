"""Where things are: read once from the environment, handed on as a value.

Every variable is documented in docs/configuration.md (a test keeps that true).
"""

from __future__ import annotations

import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import Misconfigured
from jobs.storage import ObjectPath, Place, place

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT = Path(__file__).resolve().parent.parent


def make_folder(folder: Path, variable: str) -> Path:
    """Make a folder unless it is there. Raises Misconfigured, naming the variable that says where it is to be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"The folder {folder} cannot be made ({error.strerror}): set {variable} to a place that is yours."
        ) from error
    return folder


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"


@dataclass(frozen=True)
class Settings:
    """Paths, addresses and the two databases. `home` holds all that the embedded stack keeps."""

    home: Path
    models: Path
    data: Place
    tables: Place
    work: Path
    cache: Path
    snapshots: Path
    ledger_url: str
    tracking_uri: str
    artifact_root: str | None
    dask_scheduler: str | None
    spark_master: str | None
    actor: str

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Settings:
        """The settings that the variables `LAMPLIGHTER_*` and `MLFLOW_TRACKING_URI` give; all have defaults."""
        env = os.environ if env is None else env
        home = Path(env.get("LAMPLIGHTER_HOME") or PROJECT / ".lamplighter").resolve()

        def folder(name: str, default: Path) -> Path:
            return Path(env.get(f"LAMPLIGHTER_{name}") or default).resolve()

        def anywhere(name: str, default: Path) -> Place:
            found = place(env.get(f"LAMPLIGHTER_{name}") or str(default))
            return found if isinstance(found, ObjectPath) else found.resolve()

        tracking_uri = env.get("MLFLOW_TRACKING_URI")
        if set("%?") & set(str(home)) and not (tracking_uri and env.get("LAMPLIGHTER_LEDGER_URL")):
            raise Misconfigured(
                f"LAMPLIGHTER_HOME={home} has a % or a ?, which no address of a database can have: take another folder."
            )
        return cls(
            home=home,
            models=folder("MODELS", PROJECT / "models"),
            data=anywhere("DATA", home / "data"),
            tables=anywhere("TABLES", home / "tables"),
            work=folder("WORK", home / "work"),
            cache=folder("CACHE", home / "cache"),
            snapshots=folder("SNAPSHOTS", home / "snapshots"),
            ledger_url=env.get("LAMPLIGHTER_LEDGER_URL") or f"sqlite:///{home / 'ledger.db'}",
            tracking_uri=tracking_uri or f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
            artifact_root=None if tracking_uri else (home / "mlflow" / "artifacts").as_uri(),
            dask_scheduler=env.get("LAMPLIGHTER_DASK_SCHEDULER") or None,
            spark_master=env.get("LAMPLIGHTER_SPARK_MASTER") or None,
            actor=env.get("LAMPLIGHTER_ACTOR") or env.get("USER") or _user(),
        )
