from next_release import stand_still

from piecework.migrations.online import create_index, drop_index, update_in_batches

revision = "9002"
down_revision = "9001"

phase = "expand"
in_transaction = False
remark = "writes every job once"


def upgrade():
    create_index("ix_jobs_tint", "jobs", ["tint"], where="tint IS NOT NULL")
    update_in_batches("jobs", "tint = 'old'", "tint IS NULL", rows=50)
    stand_still(revision)


def downgrade():
    drop_index("ix_jobs_tint", "jobs")
    stand_still(revision)
