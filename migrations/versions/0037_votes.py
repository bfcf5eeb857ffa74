"""Votes: what workers of several owners said that jobs give."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"

phase = "expand"
remark = "two tables, and a column without a value: no rows are read or written"


def upgrade() -> None:
    op.create_table(
        "votes",
        sa.Column("job_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("owner", sa.String(length=130), primary_key=True),
        sa.Column("worker_id", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("diverse", sa.Boolean(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_votes_owner", "votes", ["owner", "job_id"])
    op.create_table(
        "owners",
        sa.Column("name", sa.String(length=130), primary_key=True),
        sa.Column("streak", sa.Integer(), nullable=False),
        sa.Column("agreed", sa.BigInteger(), nullable=False),
        sa.Column("wrong", sa.BigInteger(), nullable=False),
        sa.Column("caught_at", sa.BigInteger(), nullable=True),
    )
    caught = sa.text("caught_at IS NOT NULL")
    op.create_index("ix_owners_caught_at", "owners", ["caught_at"], sqlite_where=caught, postgresql_where=caught)
    op.add_column("workers", sa.Column("owner", sa.String(length=100), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "owner")
    op.drop_table("owners")
    op.drop_table("votes")
