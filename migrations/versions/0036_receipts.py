"""Receipts, and the keys that they are signed with."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"

phase = "expand"
remark = "one column without a value, and two empty tables: no rows are read or written"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("workers", sa.Column("public_key", sa.LargeBinary(32), nullable=True))
    op.create_table(
        "receipts",
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name="pk_receipts"),
    )
    op.create_table(
        "public_keys",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("keyid", sa.String(32), nullable=False),
        sa.Column("owner", sa.String(8), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("public_key", sa.LargeBinary(32), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.Column("replaced_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_public_keys"),
        sa.UniqueConstraint("keyid", "owner", "owner_id", name="uq_public_keys_owner"),
        sa.CheckConstraint("owner = 'worker' OR owner = 'server'", name="ck_public_keys_owner"),
    )
    op.create_index("ix_public_keys_owner_id", "public_keys", ["owner_id"])


def downgrade() -> None:
    op.drop_table("public_keys")
    op.drop_table("receipts")
    op.drop_column("workers", "public_key")
