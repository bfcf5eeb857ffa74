"""What is paused as a whole, and which jobs wait for that."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

PARKED = sa.text("waits = 'hold'")


def upgrade() -> None:
    op.create_table(
        "holds",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("target", sa.String(length=200), nullable=False),
        sa.Column("note", sa.String(length=500), nullable=False),
        sa.Column("held_at", sa.BigInteger(), nullable=False),
        sa.Column("held_by", sa.String(length=100), nullable=True),
        sa.Column("released_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "kind = 'lambda' OR kind = 'runtime' OR kind = 'group' OR kind = 'tenant'",
            name=op.f("ck_holds_kind"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_holds")),
        sa.UniqueConstraint("kind", "target", name="uq_holds_target"),
    )
    op.create_index("ix_jobs_parked", "jobs", ["id"], sqlite_where=PARKED, postgresql_where=PARKED)


def downgrade() -> None:
    """Go back. What was paused as a whole is not known any more: its jobs stay paused, one by one."""
    op.drop_index("ix_jobs_parked", "jobs")
    op.execute("UPDATE jobs SET waits = NULL WHERE waits = 'hold'")
    op.drop_table("holds")
