"""Webhooks, what is to be delivered to them, and groups that name one."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DUE = sa.text("next_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "webhooks",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=True),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("secret", sa.String(length=100), nullable=False),
        sa.Column("old_secret", sa.String(length=100), nullable=True),
        sa.Column("old_until", sa.BigInteger(), nullable=True),
        sa.Column("created_by", sa.String(length=100), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("trouble", sa.String(length=500), nullable=True),
        sa.CheckConstraint("(old_secret IS NULL) = (old_until IS NULL)", name=op.f("ck_webhooks_rotation")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sa.UniqueConstraint("name", name=op.f("uq_webhooks_name")),
    )
    op.create_table(
        "deliveries",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("webhook_id", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.String(length=30), nullable=False),
        sa.Column("subject_id", sa.BigInteger(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=9), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=True),
        sa.Column("took_ms", sa.Integer(), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state = 'waiting' OR state = 'sending' OR state = 'delivered' OR state = 'failed'",
            name=op.f("ck_deliveries_state"),
        ),
        sa.CheckConstraint(
            "(next_at IS NOT NULL) = (state = 'waiting' OR state = 'sending')", name=op.f("ck_deliveries_next")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_webhook_id", "deliveries", ["webhook_id", "id"])
    op.create_index("ix_deliveries_state", "deliveries", ["webhook_id", "state", "id"])
    columns = ["webhook_id", "next_at", "id"]
    op.create_index("ix_deliveries_due", "deliveries", columns, sqlite_where=DUE, postgresql_where=DUE)
    op.add_column("groups", sa.Column("on_end", sa.String(length=100), nullable=True))


def downgrade() -> None:
    op.drop_column("groups", "on_end")
    op.drop_table("deliveries")
    op.drop_table("webhooks")
