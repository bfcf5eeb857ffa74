"""Limits by key: how many jobs of a key run at once, and how many start in a time."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

KEYS = ("concurrency_key", "rate_key")
WAKING = sa.text("wake_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "limits",
        sa.Column("kind", sa.String(length=11), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("said", sa.Integer(), nullable=True),
        sa.Column("said_period_ms", sa.BigInteger(), nullable=True),
        sa.Column("ruled", sa.Integer(), nullable=True),
        sa.Column("ruled_period_ms", sa.BigInteger(), nullable=True),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("starts", sa.Text(), nullable=True),
        sa.Column("wake_at", sa.BigInteger(), nullable=True),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind = 'concurrency' OR kind = 'rate'", name=op.f("ck_limits_kind")),
        sa.CheckConstraint("running >= 0", name=op.f("ck_limits_running")),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_limits")),
    )
    op.create_index("ix_limits_wake_at", "limits", ["wake_at"], sqlite_where=WAKING, postgresql_where=WAKING)
    for key in KEYS:
        live = sa.text(f"{key} IS NOT NULL AND finished_at IS NULL")
        columns = [key, "state", "waits", "lane_id", sa.literal_column("priority DESC"), "id"]
        op.create_index(f"ix_jobs_{key}", "jobs", columns, sqlite_where=live, postgresql_where=live)


def downgrade() -> None:
    """Go back. Jobs that wait for room under a limit are paused: nothing would start them."""
    op.execute("UPDATE jobs SET state = 'Paused', waits = NULL WHERE waits = 'key' OR waits = 'rate'")
    for key in KEYS:
        op.drop_index(f"ix_jobs_{key}", "jobs")
    op.drop_table("limits")
