"""Counters of what happens to jobs, and what the outbox has for them."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0021"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("unit_s", sa.Integer(), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("lambda_id", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("unit_s", "start", "lambda_id", name=op.f("pk_counters")),
    )
    op.add_column("outbox", sa.Column("tallies", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("outbox", "tallies")
    op.drop_table("counters")
