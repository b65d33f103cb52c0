"""Databases that rows come from or go to: an address from an environment variable, never from a spec."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, NoSuchTableError

from jobs.errors import LamplighterError, Misconfigured, Rejected, Unavailable, without_values

_FOR_GOOD = ("no such", "syntax error", "authentication failed", "does not exist", "has no column")
"""What drivers report as operational, and trying again does not change."""
_LIMITS = "54"
"""PostgreSQL's class of errors about limits of the server's own: operational, too, and a row over one stays over it."""
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "sqlite": {"timeout": 30},
    "postgresql+psycopg": {"client_encoding": "utf8"},  # a database in SQL_ASCII gives bytes otherwise
}
_NO_UTF8 = re.compile(r"Could not decode to UTF-8 column '(.*?)' with text|invalid byte sequence for encoding")


@contextmanager
def transaction(variable: str, *, write: bool = False) -> Iterator[sa.Connection]:
    """One transaction, committed unless something is raised: to read it is on one snapshot.

    To write, SQLite takes its lock at once, and elsewhere each statement sees what was committed before it. Raises
    Misconfigured when the variable or what it leads to is wrong, Unavailable when it does not answer or is busy.
    """
    engine = _engine(variable)
    if engine.dialect.name == "sqlite":
        _begin_in_sqlite(engine, "BEGIN IMMEDIATE" if write else "BEGIN")
    level = {"isolation_level": "READ COMMITTED" if write else "REPEATABLE READ"}
    if engine.dialect.name == "sqlite":
        level = {}
    try:
        with engine.connect().execution_options(**level) as connection, connection.begin():
            yield connection
    except (DBAPIError, NoSuchTableError, engine.dialect.loaded_dbapi.Error) as error:
        own = getattr(error, "orig", error)
        for_now = isinstance(own, engine.dialect.loaded_dbapi.OperationalError)
        raise _meaning(variable, own, for_now=for_now) from None  # its text can hold values of rows
    finally:
        engine.dispose()


def _engine(variable: str) -> sa.Engine:
    address = os.environ.get(variable)
    if not address:
        raise Misconfigured(f"The spec takes a database from the variable {variable}: set it to a SQLAlchemy address.")
    try:
        url = sa.make_url(address)
        arguments = _ARGUMENTS.get(url.drivername.removesuffix("+pysqlite"), {})
        return sa.create_engine(url, poolclass=sa.NullPool, hide_parameters=True, connect_args=arguments)
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        reason = type(error).__name__  # the text may carry the password
        raise Misconfigured(
            f"{variable} is no address of a database that can be used ({reason}): write one like "
            f"postgresql+psycopg://user:password@host/name."
        ) from None


def _begin_in_sqlite(engine: sa.Engine, begin: str) -> None:
    """Let SQLAlchemy begin transactions: the driver would not for a SELECT, nor around DDL."""

    @event.listens_for(engine, "connect")
    def _by_hand(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql(begin)


def _meaning(variable: str, error: Exception, *, for_now: bool) -> LamplighterError:
    if isinstance(error, NoSuchTableError):
        return Misconfigured(f"The database of {variable} has no table {error}: create it, or change the spec.")
    if no_utf8 := _NO_UTF8.search(str(error)):
        column = f" in the column {no_utf8[1]}" if no_utf8[1] else ""
        return Rejected(f"The database of {variable} holds text that is not UTF-8{column}: deliver it as UTF-8.")
    said = without_values(str(error))
    if for_now and not _is_for_good(error, said):
        return Unavailable(f"The database of {variable} does not do it now: {said}. Try again.")
    return Misconfigured(f"The database of {variable} refuses: {said}. Change the rows, the spec or the rights.")


def _is_for_good(error: Exception, said: str) -> bool:
    """Whether trying again cannot help."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:  # of the statement: all else has its own code
        return True
    if str(getattr(error, "sqlstate", None)).startswith(_LIMITS):
        return True
    return any(sign in said for sign in _FOR_GOOD)


def table_name(text: str) -> tuple[str | None, str]:
    """Schema (or None) and name of `schema.table` or `table`."""
    schema, _, name = text.rpartition(".")
    return schema or None, name
