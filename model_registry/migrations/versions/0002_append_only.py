"""Kinds of moves, overrides, approvals, where aliases were left, evidence; and rows that nobody can change."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("promotions", "alias_moves", "evidence")
REFUSAL = "the ledger is append-only"


def upgrade() -> None:
    """Add what is new, carry over what was `external`, and close the tables against changes."""
    op.add_column("promotions", sa.Column("kind", sa.String(20), nullable=False, server_default="promotion"))
    for column in (
        sa.Column("until", sa.BigInteger, nullable=True),
        sa.Column("replaces", sa.Integer, nullable=True),
        sa.Column("approved_by", sa.String(200), nullable=True),
        sa.Column("request", sa.String(500), nullable=True),
    ):
        op.add_column("promotions", column)
    promotions = sa.table(
        "promotions", sa.column("kind", sa.String), sa.column("external", sa.Boolean), sa.column("stage", sa.String)
    )
    op.execute(promotions.update().where(promotions.c.stage == "staging").values(kind="challenge"))
    op.execute(promotions.update().where(promotions.c.external).values(kind="external"))
    with op.batch_alter_table("promotions") as batch:
        batch.drop_column("external")
    _create_tables()
    close_tables = _close_sqlite if op.get_bind().dialect.name == "sqlite" else _close_postgresql
    for table in TABLES:
        close_tables(table)


def _create_tables() -> None:
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("stage", sa.String(20), nullable=False),
        sa.Column("version", sa.Integer, nullable=True),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )
    op.create_index("alias_moves_of_a_model", "alias_moves", ["model", "stage", "id"])
    op.create_table(
        "evidence",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("digest", sa.String(64), nullable=False, unique=True),
        sa.Column("model", sa.String(200), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
    )


def _close_sqlite(table: str) -> None:
    for what in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
        )
    op.execute(  # INSERT OR REPLACE deletes without asking the trigger above, and a low id would rewrite the order
        f"CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table} "
        f"WHEN NEW.id > 0 AND NEW.id <= (SELECT max(id) FROM {table}) "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    )


def _close_postgresql(table: str) -> None:
    op.execute(
        f"CREATE OR REPLACE FUNCTION lamplighter_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_change BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION lamplighter_append_only()"
    )
    op.execute(
        f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION lamplighter_append_only()"
    )
