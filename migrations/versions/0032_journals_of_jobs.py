"""What the guests of recorded jobs got from outside."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"

phase = "expand"
remark = "a new table: no rows are read or written"


def upgrade() -> None:
    op.create_table(
        "job_journals",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("blob_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_journals")),
    )
    op.create_index("ix_job_journals_blob_id", "job_journals", ["blob_id"])


def downgrade() -> None:
    op.drop_table("job_journals")
