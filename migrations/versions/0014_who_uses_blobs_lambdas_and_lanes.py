"""Indexes that tell which jobs, final ones too, use a blob, a lambda or a lane: what nothing uses can go."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.drop_index("ix_jobs_input", "jobs")
    op.create_index("ix_jobs_input", "jobs", ["input_id", "finished_at"])
    create_partial_index("ix_jobs_output", "output_id", "output_id IS NOT NULL")
    op.create_index("ix_jobs_lambda", "jobs", ["lambda_id", "id"])
    op.create_index("ix_jobs_lane", "jobs", ["lane_id"])


def downgrade() -> None:
    for name in ("ix_jobs_lane", "ix_jobs_lambda", "ix_jobs_output", "ix_jobs_input"):
        op.drop_index(name, "jobs")
    create_partial_index("ix_jobs_input", "input_id", "finished_at IS NULL")


def create_partial_index(name: str, column: str, where: str) -> None:
    op.create_index(name, "jobs", [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))
