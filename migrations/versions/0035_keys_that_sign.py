"""Keys with which servers of one database sign."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"

phase = "expand"
remark = "a table: no rows are read or written; servers of before sign with the keys of their directories"


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("name", sa.String(length=20), primary_key=True),
        sa.Column("key", sa.LargeBinary(length=32), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("signing_keys")
