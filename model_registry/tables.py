"""The ledger's tables, as the newest migration leaves them."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa

from model_registry.store import Stage
from model_registry.timeline import Kind


class Instant(sa.TypeDecorator[datetime]):
    """UTC instants as microseconds since 1970, because SQLite keeps no zone and text does not sort by time."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:  # noqa: ARG002, D102
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"an instant needs a time zone: {value!r}")
        since = value - datetime(1970, 1, 1, tzinfo=UTC)
        return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002, D102
        if value is None:
            return None
        seconds, microseconds = divmod(int(value), 1_000_000)
        return datetime.fromtimestamp(seconds, tz=UTC).replace(microsecond=microseconds)


class _Word(sa.TypeDecorator[str]):
    """A `StrEnum` by its value, in a column of text."""

    impl = sa.String(20)
    cache_ok = True

    def __init__(self, words: type[Stage | Kind]) -> None:
        super().__init__()
        self.words = words

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else self.words(value)


METADATA = sa.MetaData()
PROMOTIONS = sa.Table(
    "promotions",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("stage", _Word(Stage), nullable=False),
    sa.Column("effective_from", Instant, nullable=False),
    sa.Column("recorded_at", Instant, nullable=False),
    sa.Column("actor", sa.String(200), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("evidence", sa.String(64), nullable=True),
    sa.Column("kind", _Word(Kind), nullable=False),
    sa.Column("until", Instant, nullable=True),
    sa.Column("replaces", sa.Integer, nullable=True),
    sa.Column("approved_by", sa.String(200), nullable=True),
    sa.Column("request", sa.String(500), nullable=True),
)
ALIAS_MOVES = sa.Table(
    "alias_moves",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("stage", _Word(Stage), nullable=False),
    sa.Column("version", sa.Integer, nullable=True),
    sa.Column("recorded_at", Instant, nullable=False),
)
EVIDENCE = sa.Table(
    "evidence",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("digest", sa.String(64), nullable=False, unique=True),
    sa.Column("model", sa.String(200), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("decision", sa.Text, nullable=False),
    sa.Column("recorded_at", Instant, nullable=False),
)
