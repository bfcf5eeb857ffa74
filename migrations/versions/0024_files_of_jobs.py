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
        sa.Column("blob_id", sa.BigInteger(), nullable=True),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=500), nullable=True),
        sa.CheckConstraint("kind = 'given' OR kind = 'made'", name=op.f("ck_job_files_kind")),
        sa.CheckConstraint("blob_id IS NOT NULL OR parent_id IS NOT NULL", name=op.f("ck_job_files_blob")),
        sa.PrimaryKeyConstraint("job_id", "kind", "name", name=op.f("pk_job_files")),
    )
    kept = sa.text("blob_id IS NOT NULL")
    op.create_index("ix_job_files_blob_id", "job_files", ["blob_id"], sqlite_where=kept, postgresql_where=kept)


def downgrade() -> None:
    op.drop_table("job_files")
