"""Quotas of tokens: of which lambdas they submit, how many jobs at once and in a time."""

import sqlalchemy as sa
from alembic import op

revision = "0030"
down_revision = "0029"

phase = "expand"
remark = "a table, and two columns without a value: no rows are read or written; servers of before hold no quota"

_revoke = "UPDATE tokens SET revoked_at = created_at WHERE quota IS NOT NULL AND revoked_at IS NULL"


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("name", sa.String(length=100), primary_key=True),
        sa.Column("full_at_us", sa.BigInteger(), nullable=False),
    )
    op.add_column("tokens", sa.Column("quota", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("counted", sa.Boolean(), nullable=True))


def downgrade() -> None:
    # Servers of before would let these tokens do all that their scope can.
    op.execute(_revoke)
    op.drop_column("jobs", "counted")
    op.drop_column("tokens", "quota")
    op.drop_table("quotas")
