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
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pyarrow as pa
import pytest
import sqlalchemy as sa
from deltalake import DeltaTable, write_deltalake
from postgres import start_postgres
from sql_scores import ROWS, Scores
from sql_scores import VARIABLE as SCORES_DATABASE

from jobs.settings import Settings
from jobs.storage import Place, place, storage_options
from jobs.storage_options import filesystem

SERVER = Path(__file__).parent / "s3_server.py"
VARIABLE = "TOYS_DATABASE"


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
        server = start_postgres()

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


class Feed:
    """Delivers the rows of the folders of a world, partition by partition, to another kind of source."""

    def __init__(self, shop: Any, kind: str, where: str) -> None:
        self.shop, self.kind, self.where = shop, kind, where
        spec = (shop.settings.models / "toys" / "model.yaml").read_text()
        source = "source: {path: sales, column: day, every: day}"
        label = "label: {path: returns, columns"
        assert source in spec
        assert label in spec
        spec = spec.replace(source, f"source: {{{self.clause('sales')}, column: day, every: day}}")
        spec = spec.replace(label, f"label: {{{self.clause('returns')}, columns")
        shop.write_model(spec=spec)

    def clause(self, name: str) -> str:
        if self.kind == "parquet":
            return f"path: '{self.where}/{name}'"
        if self.kind == "delta":
            return f"kind: delta, path: '{self.where}/{name}'"
        asked = f", query: 'SELECT * FROM {name} WHERE 1 = 1;'" if self.kind == "query" else ""
        return f"kind: sql, path: {name}, database: {VARIABLE}{asked}"

    def deliver(self, name: str, day: str, frame: pd.DataFrame) -> None:
        """Put these rows in the place of the partition's."""
        if self.kind == "parquet":
            folder = place(f"{self.where}/{name}/day={day}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "part-0.parquet").write_bytes(frame.to_parquet(None, index=False))
        elif self.kind == "delta":
            self._write_delta(name, frame.assign(day=day), mode="overwrite", predicate=f"day = '{day}'")
        else:
            self._write_sql(name, frame.assign(day=date.fromisoformat(day)))

    def deliver_all(self) -> None:
        """Put the rows of all partitions there: those of a table at once."""
        for name in ("sales", "returns"):
            days = {
                folder.name.removeprefix("day="): pd.read_parquet(folder)
                for folder in sorted((self.shop.root / "home" / "data" / name).iterdir())
            }
            if self.kind == "parquet":
                for day, frame in days.items():
                    self.deliver(name, day, frame)
            elif self.kind == "delta":
                self._write_delta(name, pd.concat(frame.assign(day=day) for day, frame in days.items()))
            else:
                self._write_sql(name, pd.concat(f.assign(day=date.fromisoformat(day)) for day, f in days.items()))

    def _write_delta(self, name: str, frame: pd.DataFrame, **replaced: Any) -> None:
        where = f"{self.where}/{name}"
        options = storage_options(place(where))
        known = replaced and DeltaTable.is_deltatable(where, options)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        write_deltalake(where, table, storage_options=options, partition_by=["day"], **(replaced if known else {}))

    def _write_sql(self, name: str, frame: pd.DataFrame) -> None:
        """In the place of the rows of the same days."""
        types = {"day": sa.Date(), "wrapped": sa.Boolean(), "known_at": sa.DateTime(timezone=True)}
        engine = sa.create_engine(self.where)
        with engine.begin() as connection:
            if sa.inspect(connection).has_table(name):
                for day in frame["day"].unique():
                    connection.execute(sa.text(f"DELETE FROM {name} WHERE day = :day"), {"day": day})
            kinds = {column: kind for column, kind in types.items() if column in frame}
            frame.to_sql(name, connection, index=False, if_exists="append", dtype=kinds)
        engine.dispose()

    def rows(self, day: str = "2026-01-16") -> pd.DataFrame:
        return pd.read_parquet(self.shop.root / "home" / "data" / "sales" / f"day={day}")


KINDS = ["parquet-local", "parquet-s3", "delta-local", "delta-s3", "sql-sqlite", "sql-postgresql", "query-postgresql"]


@pytest.fixture
def make_feed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Feed]:
    def make(name: str, shop: Any) -> Feed:
        kind, _, where = name.partition("-")
        if where == "local":
            return Feed(shop, kind, str(tmp_path / "elsewhere"))
        if where == "s3":
            return Feed(shop, kind, str(request.getfixturevalue("s3")))
        address = f"sqlite:///{tmp_path}/rows.db" if where == "sqlite" else request.getfixturevalue("postgresql")()
        monkeypatch.setenv(VARIABLE, address)
        return Feed(shop, kind, address)

    return make


@pytest.fixture(params=KINDS)
def feed(request: pytest.FixtureRequest, open_shop: Any, make_feed: Callable[..., Feed]) -> Feed:
    made = make_feed(request.param, open_shop)
    made.deliver_all()
    return made


@pytest.fixture(params=["sql-sqlite", "sql-postgresql"])
def sql(request: pytest.FixtureRequest, open_shop: Any, make_feed: Callable[..., Feed]) -> Feed:
    return make_feed(request.param, open_shop)


@pytest.fixture
def scores(open_shop: Any, database: str, monkeypatch: pytest.MonkeyPatch) -> Scores:
    monkeypatch.setenv(SCORES_DATABASE, database)
    monkeypatch.setenv("LAMPLIGHTER_HOME", str(open_shop.settings.home))
    monkeypatch.setenv("LAMPLIGHTER_MODELS", str(open_shop.settings.models))
    monkeypatch.setattr("jobs.sql_sink.BATCH", 300)
    made = Scores(open_shop, database)
    made.deliver(ROWS)
    return made
