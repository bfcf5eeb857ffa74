"""Recorded calls of functions."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"

phase = "expand"
remark = "a table, and a column without a value: no rows are read or written"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "recorded_calls",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("function", sa.String(100), nullable=False),
        sa.Column("revision", sa.String(100), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("took_s", sa.Float(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(20), nullable=True),
        sa.Column("fuel", sa.BigInteger(), nullable=True),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=True),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["function", "revision"], ["revisions.function", "revisions.name"], name="fk_recorded_calls_function"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_recorded_calls"),
    )
    op.create_index("ix_recorded_calls_function_revision", "recorded_calls", ["function", "revision", "id"])
    op.create_index("ix_recorded_calls_at", "recorded_calls", ["at"])
    op.add_column("replicas", sa.Column("unrecorded", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("replicas", "unrecorded")
    op.drop_table("recorded_calls")
