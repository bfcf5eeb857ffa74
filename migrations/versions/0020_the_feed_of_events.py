"""The feed of what happens to jobs, and the outbox from which it is put together."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_table(
        "feed",
        sa.Column("last", BigId, autoincrement=False, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("last", name=op.f("pk_feed")),
    )
    op.create_table(
        "feed_heads",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_feed_heads")),
    )


def downgrade() -> None:
    for table in ("feed_heads", "feed", "outbox"):
        op.drop_table(table)
