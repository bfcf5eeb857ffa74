"""The index that what is enqueued is counted with by lambda."""

from alembic import op

from piecework.migrations.online import create_index, drop_index

revision = "0033"
down_revision = "0032"

phase = "expand"
in_transaction = False
remark = "reads every job for an index of those that are enqueued; on PostgreSQL it does nothing"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        create_index(
            "ix_jobs_enqueued", "jobs", ["lambda_id", "lane_id", "created_at"], where="state = 'Enqueued'"
        )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        drop_index("ix_jobs_enqueued", "jobs")
