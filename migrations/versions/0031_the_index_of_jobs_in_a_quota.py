"""The index of unfinished jobs that count towards a quota."""

from piecework.migrations.online import create_index, drop_index

revision = "0031"
down_revision = "0030"

phase = "expand"
in_transaction = False
remark = "reads every job for an index that is empty at first"


def upgrade() -> None:
    create_index("ix_jobs_counted", "jobs", ["submitter"], where="counted IS NOT NULL AND finished_at IS NULL")


def downgrade() -> None:
    drop_index("ix_jobs_counted", "jobs")
