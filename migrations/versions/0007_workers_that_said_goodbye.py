"""When a worker's process said that it ends; no value while it works, or went without a word."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("workers", sa.Column("stopped_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "stopped_at")
