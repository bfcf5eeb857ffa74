"""Memos: results of deterministic jobs that equal jobs are answered with."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"

phase = "expand"
remark = "two new tables: no rows are read or written"


def upgrade() -> None:
    op.create_table(
        "memos",
        sa.Column("key", sa.String(length=64), primary_key=True),
        sa.Column("code_sha256", sa.String(length=64), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=True),
        sa.Column("output_id", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("usage", sa.Text(), nullable=True),
        sa.Column("hits", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_memos_code_sha256", "memos", ["code_sha256"])
    op.create_index("ix_memos_used_at", "memos", ["used_at"])
    where = sa.text("output_id IS NOT NULL")
    op.create_index("ix_memos_output_id", "memos", ["output_id"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "memo_stops",
        sa.Column("code_sha256", sa.String(length=64), primary_key=True),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("memo_stops")
    op.drop_table("memos")
