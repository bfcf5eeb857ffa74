"""A table for the end of the logs of replicas that are no more."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "ended_logs",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("replica_id", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=False),
        sa.Column("function", sa.String(length=100), nullable=False),
        sa.Column("revision", sa.String(length=100), nullable=False),
        sa.Column("worker_name", sa.Text(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["function", "revision"], ["revisions.function", "revisions.name"], name=op.f("fk_ended_logs_function")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ended_logs")),
    )
    op.create_index("ix_ended_logs_function_revision", "ended_logs", ["function", "revision"], unique=False)


def downgrade() -> None:
    op.drop_table("ended_logs")
