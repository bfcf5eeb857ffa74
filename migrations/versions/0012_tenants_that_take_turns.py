"""Tenants, and an index of claims that leads from one to the next within a priority."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

ENQUEUED = sa.text("state = 'Enqueued'")


def upgrade() -> None:
    op.create_table(
        "tenants",
        sa.Column(
            "number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("weight", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_tenants")),
        sa.UniqueConstraint("name", name=op.f("uq_tenants_name")),
    )
    replace_claim_index([sa.literal_column("priority DESC"), "lane_id", "id"])


def downgrade() -> None:
    replace_claim_index(["lane_id", sa.literal_column("priority DESC"), "id"])
    op.drop_table("tenants")


def replace_claim_index(columns: list[object]) -> None:
    op.drop_index("ix_jobs_claim", "jobs")
    op.create_index("ix_jobs_claim", "jobs", columns, sqlite_where=ENQUEUED, postgresql_where=ENQUEUED)
