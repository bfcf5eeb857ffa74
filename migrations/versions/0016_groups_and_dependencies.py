"""Groups of jobs, and jobs that wait for others."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DUE = "state = 'Waiting' AND waits IS NULL"
OLD_DUE = "state = 'Waiting'"
INDEXES = (
    ("ix_dependencies_blob_id", "dependencies", ("blob_id",), "blob_id IS NOT NULL", False),
    ("ix_groups_output_id", "groups", ("output_id",), "output_id IS NOT NULL", False),
    ("ix_jobs_waits", "jobs", ("waits", "id"), "waits IS NOT NULL", False),
    ("ix_jobs_group_state", "jobs", ("group_id", "state", "id"), "group_id IS NOT NULL", False),
    ("ix_groups_name", "groups", ("name", "id"), "name IS NOT NULL", False),
    ("uq_groups_open", "groups", ("name",), "name IS NOT NULL AND sealed_at IS NULL", True),
    ("ix_groups_closing", "groups", ("id",), "sealed_at IS NOT NULL AND done_at IS NULL", False),
)


def upgrade() -> None:
    op.create_table(
        "dependencies",
        sa.Column("child_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("parent_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(length=100), primary_key=True),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("blob_id", sa.BigInteger()),
        sa.CheckConstraint(
            "state = 'open' OR state = 'done' OR state = 'broken'", name=op.f("ck_dependencies_state")
        ),
    )
    op.create_index("ix_dependencies_parent_id_state", "dependencies", ["parent_id", "state"])
    op.create_table(
        "settlings",
        sa.Column("parent_id", BIG_ID, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("output_id", sa.BigInteger()),
    )
    op.create_table(
        "groups",
        sa.Column("id", BIG_ID, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(length=100)),
        sa.Column("submitter", sa.String(length=100)),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("sealed_at", sa.BigInteger()),
        sa.Column("done_at", sa.BigInteger()),
        sa.Column("state", sa.String(length=16)),
        sa.Column("output_id", sa.BigInteger()),
        sa.CheckConstraint("(done_at IS NOT NULL) = (state IS NOT NULL)", name=op.f("ck_groups_done")),
        sa.CheckConstraint("done_at IS NULL OR sealed_at IS NOT NULL", name=op.f("ck_groups_sealed")),
    )
    for name, table, columns, where, unique in INDEXES:
        create_index(name, table, columns, where, unique=unique)
    op.add_column("jobs", sa.Column("awaited", sa.Boolean()))
    op.drop_index("ix_jobs_due", "jobs")
    create_index("ix_jobs_due", "jobs", ("due_at",), DUE)


def downgrade() -> None:
    op.drop_index("ix_jobs_due", "jobs")
    create_index("ix_jobs_due", "jobs", ("due_at",), OLD_DUE)
    op.drop_index("ix_jobs_group_state", "jobs")
    op.drop_index("ix_jobs_waits", "jobs")
    op.drop_column("jobs", "awaited")
    for table in ("groups", "settlings", "dependencies"):
        op.drop_table(table)


def create_index(name: str, table: str, columns: tuple[str, ...], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, table, list(columns), unique=unique, sqlite_where=condition, postgresql_where=condition)
