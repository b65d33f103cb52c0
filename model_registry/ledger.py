"""The ledger: who moved which version to which stage, when, why, on which evidence. Rows are only ever appended.

Every row carries two times: `effective_from` (business time, from when the version answers for partitions) and
`recorded_at` (the clock). SQLite and PostgreSQL through the same code; the database itself refuses changes of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError

from model_registry.errors import Unavailable
from model_registry.schema import HEAD, revision, upgrade
from model_registry.store import Stage
from model_registry.tables import ALIAS_MOVES, EVIDENCE, PROMOTIONS
from model_registry.timeline import Promotion

PATIENCE_SECONDS = 30


class LedgerSession:
    """The ledger within one transaction that holds the model's lock: read what is true now, then append."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def check(self) -> None:
        """Raise when the database has ended this transaction, and so given the lock to others."""
        self._connection.execute(sa.select(1))

    def append(self, promotion: Promotion) -> None:
        """Record a promotion; it counts once the transaction ends without an error."""
        self._connection.execute(PROMOTIONS.insert().values(**vars(promotion)))

    def history(self, model: str, stage: Stage | None = None) -> list[Promotion]:
        """All promotions of a model in the order in which they were recorded."""
        query = sa.select(PROMOTIONS).where(PROMOTIONS.c.model == model).order_by(PROMOTIONS.c.id)
        if stage is not None:
            query = query.where(PROMOTIONS.c.stage == stage)
        names = [c.name for c in PROMOTIONS.columns if c.name != "id"]
        return [Promotion(**{n: getattr(row, n) for n in names}) for row in self._connection.execute(query)]

    def note_alias(self, model: str, stage: Stage, version: int | None, at: datetime) -> None:
        """Record where the alias of a stage was left."""
        values = {"model": model, "stage": stage, "version": version, "recorded_at": at}
        self._connection.execute(ALIAS_MOVES.insert().values(**values))

    def noted_alias(self, model: str, stage: Stage) -> int | None:
        """Where the alias of a stage was left the last time; None when it was cleared, or never set."""
        mine = sa.and_(ALIAS_MOVES.c.model == model, ALIAS_MOVES.c.stage == stage)
        query = sa.select(ALIAS_MOVES.c.version).where(mine).order_by(ALIAS_MOVES.c.id.desc()).limit(1)
        found = self._connection.execute(query).scalar_one_or_none()
        return None if found is None else int(found)

    def noted_at(self, model: str, stage: Stage, version: int | None) -> datetime | None:
        """When it was noted the last time that the alias of a stage was left at a version."""
        mine = sa.and_(ALIAS_MOVES.c.model == model, ALIAS_MOVES.c.stage == stage, ALIAS_MOVES.c.version == version)
        query = sa.select(ALIAS_MOVES.c.recorded_at).where(mine).order_by(ALIAS_MOVES.c.id.desc()).limit(1)
        found: datetime | None = self._connection.execute(query).scalar_one_or_none()
        return found

    def keep_evidence(self, digest: str, model: str, version: int, decision: str, at: datetime) -> None:
        """Keep the text of a decision under its digest; the same decision again is kept once."""
        if self.evidence(digest) is None:
            values = {"digest": digest, "model": model, "version": version, "decision": decision, "recorded_at": at}
            self._connection.execute(EVIDENCE.insert().values(**values))

    def decisions(self, model: str) -> list[tuple[datetime, str]]:
        """When each decision about a model's versions was made, and its text, in the order in which they were made."""
        kept = sa.select(EVIDENCE.c.recorded_at, EVIDENCE.c.decision).where(EVIDENCE.c.model == model)
        return [(row.recorded_at, row.decision) for row in self._connection.execute(kept.order_by(EVIDENCE.c.id))]

    def evidence(self, digest: str) -> str | None:
        """The text of the decision with that digest, or None."""
        query = sa.select(EVIDENCE.c.decision).where(EVIDENCE.c.digest == digest)
        found = self._connection.execute(query).scalar_one_or_none()
        return None if found is None else str(found)


class Ledger:
    """The ledger in a database that SQLAlchemy can reach, for example `sqlite:////var/lamplighter/ledger.db`."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, pool_pre_ping=True)
        self._sqlite = self._engine.dialect.name == "sqlite"
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _leave_transactions_to_us)
        try:
            self._bring_to_newest_schema()
        except BaseException:
            self.close()  # there is nobody else to do it
            raise

    def _bring_to_newest_schema(self) -> None:
        with self._transaction(sa.text("BEGIN") if self._sqlite else None) as connection:
            newest = revision(connection) == HEAD
        if not newest:
            with self._transaction(self._exclusively()) as connection:
                upgrade(connection)

    @contextmanager
    def locked(self, model: str) -> Iterator[LedgerSession]:
        """One transaction that no other transaction for the same model runs beside, on any machine.

        Raises Unavailable when the lock is not free for half a minute, or the database does not answer.
        """
        lock = sa.select(sa.func.pg_advisory_xact_lock(_lock_number(model)))
        with self._transaction(self._exclusively(), None if self._sqlite else lock) as connection:
            yield LedgerSession(connection)

    @contextmanager
    def reading(self) -> Iterator[LedgerSession]:
        """A transaction to read in, without the lock."""
        with self._transaction(sa.text("BEGIN") if self._sqlite else None) as connection:
            yield LedgerSession(connection)

    def _exclusively(self) -> sa.Executable:
        return sa.text("BEGIN IMMEDIATE" if self._sqlite else f"SET LOCAL lock_timeout = '{PATIENCE_SECONDS}s'")

    @contextmanager
    def _transaction(self, *opening: sa.Executable | None) -> Iterator[sa.Connection]:
        try:
            with ExitStack() as transaction:
                connection = transaction.enter_context(self._engine.connect())
                transaction.enter_context(connection.begin())
                for statement in opening:
                    if statement is not None:
                        connection.execute(statement)
                yield connection
        except (IntegrityError, ProgrammingError):  # ours to mend, not the database's
            raise
        except DBAPIError as error:
            where = self._engine.url.render_as_string(hide_password=True)
            raise Unavailable(f"The ledger at {where} does not answer: {_first_line(error)}.") from error

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def _leave_transactions_to_us(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    """Stop the driver's own BEGIN, so that BEGIN IMMEDIATE is ours to say, and wait for a lock instead of failing."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {PATIENCE_SECONDS * 1000}")
    cursor.close()


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0]


def _lock_number(model: str) -> int:
    """A signed 64-bit number of our own for the model, as PostgreSQL's advisory locks want it."""
    return int.from_bytes(sha256(f"lamplighter:{model}".encode()).digest()[:8], signed=True)
