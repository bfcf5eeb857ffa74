"""Indexes for jobs that say themselves how long they stay, by when that is over."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    create_partial_index("ix_jobs_retained", sa.text("(finished_at + retain_ms)"), "retain_ms > 0")
    create_partial_index("ix_jobs_unread", "finished_at", "retain_ms = 0")


def downgrade() -> None:
    for name in ("ix_jobs_unread", "ix_jobs_retained"):
        op.drop_index(name, "jobs")


def create_partial_index(name: str, column: str | sa.TextClause, where: str) -> None:
    op.create_index(name, "jobs", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
