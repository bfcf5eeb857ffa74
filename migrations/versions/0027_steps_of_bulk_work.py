"""What requests for many jobs changed, so that it can be taken back."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "bulk_steps",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("action", sa.String(length=8), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("job_ids", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bulk_steps")),
    )
    op.create_index("ix_bulk_steps_key", "bulk_steps", ["key", "id"])
    op.create_index("ix_bulk_steps_at", "bulk_steps", ["at"])


def downgrade() -> None:
    op.drop_table("bulk_steps")
