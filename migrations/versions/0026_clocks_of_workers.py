"""How far the clocks of workers differ from the server's."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    op.add_column("workers", sa.Column("skew_ms", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "skew_ms")
