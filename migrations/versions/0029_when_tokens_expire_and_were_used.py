"""When tokens expire, and when they were last used."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"

phase = "expand"
remark = "two columns without a value: no rows are read or written; servers of before let expired tokens in"

_revoke_expired = "UPDATE tokens SET revoked_at = expires_at WHERE revoked_at IS NULL AND expires_at <= :now"


def upgrade() -> None:
    op.add_column("tokens", sa.Column("expires_at", sa.BigInteger(), nullable=True))
    op.add_column("tokens", sa.Column("used_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    # Servers of before know of nothing else that keeps a token out.
    op.execute(sa.text(_revoke_expired).bindparams(now=time.time_ns() // 1_000_000))
    op.drop_column("tokens", "used_at")
    op.drop_column("tokens", "expires_at")
