"""When a lambda was deleted: it goes with the last of its jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.add_column("lambdas", sa.Column("deleted_at", sa.BigInteger(), nullable=True))
    where = sa.text("deleted_at IS NOT NULL")
    op.create_index("ix_lambdas_deleted", "lambdas", ["deleted_at"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_lambdas_deleted", "lambdas")
    op.drop_column("lambdas", "deleted_at")
