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
    same = "id = NEW.id" + (" OR digest = NEW.digest" if table == "evidence" else "")
    op.execute(  # INSERT OR REPLACE deletes what it replaces without asking the trigger above
        f"CREATE TRIGGER {table}_no_replace BEFORE INSERT ON {table} "
        f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
    )
    op.execute(  # a low id would rewrite the order; before the insertion NEW.id is not known yet
        f"CREATE TRIGGER {table}_in_order AFTER INSERT ON {table} "
        f"WHEN NEW.id < (SELECT max(id) FROM {table}) "
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
    op.execute(  # of one model, because the lock is a model's: numbers of others are given at the same moment
        f"CREATE OR REPLACE FUNCTION lamplighter_in_order() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"DECLARE later boolean; BEGIN "
        f"EXECUTE format('SELECT EXISTS (SELECT 1 FROM %s WHERE model = $1 AND id > $2)', TG_RELID::regclass) "
        f"INTO later USING NEW.model, NEW.id; "
        f"IF later THEN RAISE EXCEPTION '{REFUSAL}'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        f"CREATE TRIGGER {table}_in_order BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION lamplighter_in_order()"
    )
