"""Schedules and their ticks, and the schedule that a job was submitted for."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
OF_JOBS = (
    ("ix_jobs_schedule", ["schedule_id", "id"], "schedule_id IS NOT NULL"),
    ("ix_jobs_schedule_open", ["schedule_id"], "schedule_id IS NOT NULL AND finished_at IS NULL"),
)


def upgrade() -> None:
    create_schedules()
    create_ticks()
    op.add_column("jobs", sa.Column("schedule_id", sa.BigInteger(), nullable=True))
    for name, columns, where in OF_JOBS:
        create_partial_index(name, "jobs", columns, where)


def create_schedules() -> None:
    op.create_table(
        "schedules",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("cron", sa.String(length=500), nullable=True),
        sa.Column("every_ms", sa.BigInteger(), nullable=True),
        sa.Column("timezone", sa.String(length=100), nullable=False),
        sa.Column("anchor_at", sa.BigInteger(), nullable=False),
        sa.Column("catch_up", sa.String(length=4), nullable=False),
        sa.Column("overlap", sa.String(length=7), nullable=False),
        sa.Column("jitter_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("input_id", sa.BigInteger(), nullable=False),
        sa.Column("submitter", sa.String(length=100), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("paused_at", sa.BigInteger(), nullable=True),
        sa.Column("next_at", sa.BigInteger(), nullable=True),
        sa.Column("last_at", sa.BigInteger(), nullable=True),
        sa.Column("last_job_id", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("(cron IS NULL) <> (every_ms IS NULL)", name=op.f("ck_schedules_timing")),
        sa.CheckConstraint("paused_at IS NULL OR next_at IS NULL", name=op.f("ck_schedules_paused")),
        sa.CheckConstraint(
            "catch_up = 'skip' OR catch_up = 'one' OR catch_up = 'all'", name=op.f("ck_schedules_catch_up")
        ),
        sa.CheckConstraint(
            "overlap = 'allow' OR overlap = 'skip' OR overlap = 'replace'", name=op.f("ck_schedules_overlap")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
        sa.UniqueConstraint("name", name=op.f("uq_schedules_name")),
    )
    create_partial_index("ix_schedules_next", "schedules", ["next_at"], "next_at IS NOT NULL")
    op.create_index("ix_schedules_input_id", "schedules", ["input_id"])


def create_ticks() -> None:
    op.create_table(
        "ticks",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("schedule_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=6), nullable=False),
        sa.Column("noted_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=9), nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.CheckConstraint("(outcome = 'submitted') = (job_id IS NOT NULL)", name=op.f("ck_ticks_outcome")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ticks")),
        sa.UniqueConstraint("schedule_id", "at", "kind", name=op.f("uq_ticks_schedule_id_at_kind")),
    )
    op.create_index("ix_ticks_schedule_id", "ticks", ["schedule_id", "id"])


def downgrade() -> None:
    for name, _, _ in OF_JOBS:
        op.drop_index(name, "jobs")
    op.drop_column("jobs", "schedule_id")
    op.drop_table("ticks")
    op.drop_table("schedules")


def create_partial_index(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
