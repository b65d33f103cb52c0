"""Bringing a ledger's database to the newest schema, once, however many processes open it at the same moment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from model_registry.errors import Misconfigured

if TYPE_CHECKING:
    from sqlalchemy import Connection

HEAD = "0002"
LOCK = 0x1A3B_11C4_7E12
_REVISION = sa.table("alembic_version", sa.column("version_num", sa.String))


def upgrade(connection: Connection) -> None:
    """Migrate to `HEAD` within the connection's transaction, which holds the database's lock on SQLite.

    Raises Misconfigured when the database was made by a newer release.
    """
    if connection.dialect.name != "sqlite":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    found = revision(connection)
    if found == HEAD:
        return
    if found is not None and found > HEAD:
        raise Misconfigured(
            f"The ledger has the schema {found}, and this release knows {HEAD}: update Lamplighter, or take another "
            f"database in LAMPLIGHTER_LEDGER_URL."
        )
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    command.upgrade(config, HEAD)


def revision(connection: Connection) -> str | None:
    """The revision of the schema that the database has, or None."""
    if not sa.inspect(connection).has_table(_REVISION.name):
        return None
    found = connection.execute(sa.select(_REVISION.c.version_num)).scalar_one_or_none()
    return None if found is None else str(found)
