"""Files that jobs get in a directory of their own, and give back."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    op.create_table(
        "job_files",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=5), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("blob_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind = 'given' OR kind = 'made'", name=op.f("ck_job_files_kind")),
        sa.PrimaryKeyConstraint("job_id", "kind", "name", name=op.f("pk_job_files")),
    )
    op.create_index("ix_job_files_blob_id", "job_files", ["blob_id"])


def downgrade() -> None:
    op.drop_table("job_files")
