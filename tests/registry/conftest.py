"""Versions, reports, ledgers and the four registries that the tests here use: real ones, but for the one in memory."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from postgres import start_postgres
from registry.desk import Desk, Shelf, open_registry
from registry.judging import Judge, Versions
from registry.moving import Place

from model_registry.evidence import Check, GateReport, Severity
from model_registry.ledger import Ledger
from model_registry.memory_store import MemoryStore
from model_registry.metric_gate import judge
from model_registry.store import NewVersion, RegistryStore, Version

TRAINED_FROM = datetime(2013, 1, 1, tzinfo=UTC)
TRAINED_UNTIL = datetime(2013, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Room:
    """A store under test, a model name that nobody else uses, and how files of a version come to be."""

    kind: str
    store: RegistryStore
    model: str
    folder: Path

    @property
    def client(self) -> Any:
        """The MLflow client of the store, where there is one."""
        return self.store._client

    def new(self, content: str = "one", partition: str = "2013-02-01", digest: str | None = None) -> NewVersion:
        """What a retrain would register: a small folder of files in a run of its own."""
        files = self.folder / uuid.uuid4().hex / "model"
        write_model(files, content)
        mlflow_run_id, artifact_uri = self._logged(files) if self.kind != "memory" else (uuid.uuid4().hex, str(files))
        made = digest or f"{content:0<64}"
        return NewVersion(
            self.model, made, "s" * 64, partition, TRAINED_FROM, TRAINED_UNTIL, mlflow_run_id, artifact_uri
        )

    def log(self, version: Version, text: str, name: str) -> None:
        """Log a text with the version's run."""
        if self.kind != "memory":
            self.client.log_text(version.mlflow_run_id, text, name)
            return
        path = Path(version.artifact_uri).parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def _logged(self, files: Path) -> tuple[str, str]:
        found = self.client.get_experiment_by_name(self.model)
        location = None if self.kind == "mlflow-server" else (self.folder / "artifacts").as_uri()
        experiment = found.experiment_id if found else self.client.create_experiment(self.model, location)
        run = self.client.create_run(experiment)
        self.client.log_artifacts(run.info.run_id, str(files), "model")
        return run.info.run_id, f"{run.info.artifact_uri}/model"


def write_model(folder: Path, content: str = "one", mlflow_run_id: str = "a1", hour: str = "01:00:00") -> Path:
    """A small version on disk, with the descriptor that MLflow writes."""
    (folder / "compiled").mkdir(parents=True)
    (folder / "MLmodel").write_text(
        f"artifact_path: model\nflavors:\n  python_function:\n    loader_module: lamplighter\n"
        f"run_id: {mlflow_run_id}\nutc_time_created: '2013-02-01 {hour}'\nmodel_uuid: {mlflow_run_id}-{hour}\n",
        encoding="utf-8",
    )
    (folder / "coefficients.json").write_text(f'{{"of": "{content}"}}', encoding="utf-8")
    (folder / "compiled" / "leaves.bin").write_bytes(bytes(range(64)))
    return folder


@pytest.fixture(scope="session")
def model_files() -> Callable[..., Path]:
    """`write_model` for the tests."""
    return write_model


@pytest.fixture(scope="session")
def version_of() -> Callable[..., Version]:
    """A version by its number; any field can be given."""

    def make(number: int, **fields: Any) -> Version:
        given: dict[str, Any] = {
            "model": "flight_delays",
            "digest": f"{number:0>64}",
            "signature": "s" * 64,
            "partition": "2013-02-01",
            "trained_from": TRAINED_FROM,
            "trained_until": TRAINED_UNTIL,
            "mlflow_run_id": f"mlflow-{number}",
            "artifact_uri": f"/versions/{number}",
        }
        return Version(number=number, **(given | fields))

    return make


@pytest.fixture(scope="session")
def report_of() -> Callable[..., GateReport]:
    """A report of the metric gate with one check that passed, or not."""

    def make(passed: bool = True, observed: float = 0.71, subject: str = "flight_delays version 1") -> GateReport:
        check = Check("auc on the holdout", passed, observed, "at least 0.6", Severity.error, examples=("Zürich",))
        return GateReport("metric gate", subject, (check,))

    return make


@pytest.fixture(scope="session", autouse=True)
def _quiet_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """MLflow as the jobs set it up, with no patience: nothing here is worth waiting for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("MLFLOW_LOGGING_LEVEL", "WARNING")
        patch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))  # embedded PostgreSQL warns without
        yield


@pytest.fixture(scope="session")
def _mlflow_imported() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"The ``noload`` loader", module=r"mlflow\.store\.tracking\.sqlalchemy_store")
        importlib.import_module("mlflow.store.tracking.sqlalchemy_store")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[str], str]]:
    """A real PostgreSQL: called with a name, it makes that database and gives its URL."""
    server = start_postgres()

    def database(name: str) -> str:
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return server.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1)

    yield database
    server.cleanup()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database for ledgers, once in SQLite and once in PostgreSQL. Tests keep apart by their model names."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path_factory.mktemp('ledger')}/ledger.db"
    return str(request.getfixturevalue("postgresql")(f"ledger_{uuid.uuid4().hex[:8]}"))


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A ledger in that database."""
    opened = Ledger(ledger_url)
    yield opened
    opened.close()


@pytest.fixture
def model() -> str:
    """A model name that no other test uses."""
    return f"delays_{uuid.uuid4().hex[:12]}"


@pytest.fixture
def desk() -> Iterator[Desk]:
    """A registry in memory to make moves on."""
    registry = open_registry(Shelf())
    yield Desk(registry)
    registry.ledger.close()


@pytest.fixture(scope="session")
def closed_port() -> int:
    """A port of this machine that nobody listens on."""
    return _free_port()


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def mlflow_sqlite(tmp_path_factory: pytest.TempPathFactory, _mlflow_imported: None) -> str:
    """The URI of MLflow on a SQLite file."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"


@pytest.fixture(scope="session")
def mlflow_postgresql(postgresql: Callable[[str], str], _mlflow_imported: None) -> str:
    """The URI of MLflow on PostgreSQL."""
    return postgresql(f"mlflow_{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a server that also hands the artifacts on, as in production."""
    home, port = tmp_path_factory.mktemp("server"), _free_port()
    uri = f"http://127.0.0.1:{port}"
    places = [f"--backend-store-uri=sqlite:///{home}/mlflow.db", f"--artifacts-destination={home}/artifacts"]
    command = [sys.executable, "-m", "mlflow", "server", f"--port={port}", "--workers=1", *places]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, start_new_session=True)
        try:
            _wait_for(f"{uri}/health", server)
            yield uri
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        assert server.poll() is None, "the MLflow server ended while it started"
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the MLflow server did not answer within a minute")


@pytest.fixture(params=["memory", "mlflow-sqlite", "mlflow-postgresql", "mlflow-server"])
def room(request: pytest.FixtureRequest, model: str, tmp_path: Path) -> Room:
    """Each implementation of the store in its turn."""
    return _room(request, request.param, model, tmp_path)


@pytest.fixture(params=["mlflow-sqlite", "mlflow-postgresql", "mlflow-server"])
def mlflow_room(request: pytest.FixtureRequest, model: str, tmp_path: Path) -> Room:
    """The implementations that speak to MLflow, for what only MLflow can do."""
    return _room(request, request.param, model, tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_room(request: pytest.FixtureRequest, model: str, tmp_path: Path) -> Room:
    """MLflow on a database that its users share, without a server in between."""
    return _room(request, f"mlflow-{request.param}", model, tmp_path)


@pytest.fixture
def place(request: pytest.FixtureRequest, database_room: Room, tmp_path: Path) -> Place:
    """The registry of that room's model, with the ledger on the same kind of database."""
    ledger = f"sqlite:///{tmp_path}/ledger.db"
    if database_room.kind == "mlflow-postgresql":
        ledger = request.getfixturevalue("postgresql")(f"ledger_{database_room.model}")
    return Place(database_room.store._uri, ledger, database_room.model)


@pytest.fixture
def sqlite_room(request: pytest.FixtureRequest, model: str, tmp_path: Path) -> Room:
    """MLflow on SQLite alone, where one real registry is enough."""
    return _room(request, "mlflow-sqlite", model, tmp_path)


def _room(request: pytest.FixtureRequest, kind: str, model: str, folder: Path) -> Room:
    if kind == "memory":
        return Room(kind, MemoryStore(), model, folder)
    from model_registry.mlflow_store import MlflowStore

    return Room(kind, MlflowStore(request.getfixturevalue(kind.replace("-", "_"))), model, folder)


@pytest.fixture
def first(version_of: Versions) -> Judge:
    """Judge a first version."""
    return lambda rule, *measured: judge(version_of(1), None, measured, [rule])


@pytest.fixture
def against(version_of: Versions) -> Judge:
    """Judge version 2 against version 1."""
    return lambda rule, *measured: judge(version_of(2), version_of(1), measured, [rule])
