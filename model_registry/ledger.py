"""The ledger: who moved which version to which stage, when, why, on which evidence. Rows are only ever appended.

Every row carries two times: `effective_from` (business time, from when the version answers for partitions) and
`recorded_at` (the clock). SQLite and PostgreSQL through the same code.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from model_registry.errors import Unavailable
from model_registry.store import Stage


@dataclass(frozen=True)
class Promotion:
    """One move of a version to a stage. `evidence` is the digest of the gate report that it rests on."""

    model: str
    version: int
    digest: str
    stage: Stage
    effective_from: datetime
    recorded_at: datetime
    actor: str
    reason: str
    evidence: str | None
    external: bool = False


class _Instant(sa.TypeDecorator[datetime]):
    """UTC instants as microseconds since 1970, because SQLite keeps no zone and text does not sort by time."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone: {value!r}")
        since = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        seconds, microseconds = divmod(int(value), 1_000_000)
        return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=microseconds)


METADATA = sa.MetaData()
PROMOTIONS = sa.Table(
    "promotions",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("stage", sa.Enum(Stage, native_enum=False, length=20), nullable=False),
    sa.Column("effective_from", _Instant, nullable=False),
    sa.Column("recorded_at", _Instant, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.String(64), nullable=True),
    sa.Column("external", sa.Boolean, nullable=False),
    sa.Index("promotions_in_time", "model", "stage", "effective_from"),
)


class LedgerSession:
    """The ledger within one transaction that holds the model's lock: read what is true now, then append."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

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

    def effective(self, model: str, stage: Stage, at: datetime, known_at: datetime | None = None) -> Promotion | None:
        """The promotion in force at business time `at`, as was known at clock time `known_at` (default: all)."""
        return effective(self.history(model, stage), at, known_at)


def effective(history: list[Promotion], at: datetime, known_at: datetime | None = None) -> Promotion | None:
    """The newest of `history` (in recorded order) that had begun at `at`; of two that began together, the later."""
    begun = [
        (p.effective_from, order, p)
        for order, p in enumerate(history)
        if p.effective_from <= at and (known_at is None or p.recorded_at <= known_at)
    ]
    return max(begun, key=lambda entry: entry[:2])[2] if begun else None


class Ledger:
    """The ledger in a database that SQLAlchemy can reach, for example `sqlite:////var/lamplighter/ledger.db`."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(url, pool_pre_ping=True)
        self._sqlite = self._engine.dialect.name == "sqlite"
        if self._sqlite:
            sa.event.listen(self._engine, "connect", _leave_transactions_to_us)
        try:
            self._create()
        except DBAPIError as error:
            raise self._unavailable(error) from error

    def _create(self) -> None:
        try:
            METADATA.create_all(self._engine)
        except DBAPIError:
            if not sa.inspect(self._engine).has_table(PROMOTIONS.name):  # else another process was faster
                raise

    @contextmanager
    def locked(self, model: str) -> Iterator[LedgerSession]:
        """One transaction that no other transaction for the same model runs beside, on any machine."""
        lock = sa.select(sa.func.pg_advisory_xact_lock(_lock_number(model)))
        with self._transaction(sa.text("BEGIN IMMEDIATE") if self._sqlite else lock) as session:
            yield session

    @contextmanager
    def reading(self) -> Iterator[LedgerSession]:
        """A transaction to read in, without the lock."""
        with self._transaction(sa.text("BEGIN") if self._sqlite else None) as session:
            yield session

    @contextmanager
    def _transaction(self, opening: sa.Executable | None) -> Iterator[LedgerSession]:
        with ExitStack() as transaction:
            try:
                connection = transaction.enter_context(self._engine.connect())
                transaction.enter_context(connection.begin())
                if opening is not None:
                    connection.execute(opening)
            except DBAPIError as error:
                raise self._unavailable(error) from error
            yield LedgerSession(connection)

    def _unavailable(self, error: DBAPIError) -> Unavailable:
        where = self._engine.url.render_as_string(hide_password=True)
        return Unavailable(f"The ledger at {where} does not answer: {_first_line(error)}.")

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


def _leave_transactions_to_us(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
    """Stop the driver's own BEGIN, so that BEGIN IMMEDIATE is ours to say, and wait for a lock instead of failing."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout = 30000")
    cursor.close()


def _first_line(error: DBAPIError) -> str:
    return str(error.orig).strip().splitlines()[0]


def _lock_number(model: str) -> int:
    """A signed 64-bit number of our own for the model, as PostgreSQL's advisory locks want it."""
    return int.from_bytes(sha256(f"lamplighter:{model}".encode()).digest()[:8], signed=True)
