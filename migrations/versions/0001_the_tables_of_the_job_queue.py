"""The tables of the job queue."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = ("blobs", "events", "lambdas", "lanes", "logs", "servers", "submissions", "tokens", "workers", "jobs")


def upgrade() -> None:
    create_blobs()
    create_events()
    create_lambdas()
    create_lanes()
    create_logs()
    create_servers()
    create_submissions()
    create_tokens()
    create_workers()
    create_jobs()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def create_blobs() -> None:
    op.create_table(
        "blobs",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_blobs")),
    )
    create_partial_index("ix_blobs_stored", "blobs", ["sha256"], where="content IS NULL", unique=False)


def create_events() -> None:
    op.create_table(
        "events",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("worker_id", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("lease", sa.String(length=40), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index("ix_events_job_id", "events", ["job_id"], unique=False)


def create_lambdas() -> None:
    op.create_table(
        "lambdas",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("codex", sa.BigInteger(), nullable=False),
        sa.Column("runtime", sa.String(length=200), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=True),
        sa.Column("options", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lambdas")),
    )
    op.create_index("ix_lambdas_codex", "lambdas", ["codex"], unique=False)


def create_lanes() -> None:
    op.create_table(
        "lanes",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("runtime", sa.String(length=200), nullable=False),
        sa.Column("necessary", sa.Text(), nullable=False),
        sa.Column("rejected", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lanes")),
        sa.UniqueConstraint("runtime", "necessary", "rejected", name="uq_lanes_content"),
    )


def create_logs() -> None:
    op.create_table(
        "logs",
        sa.Column("job_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("attempt", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_logs")),
    )


def create_servers() -> None:
    op.create_table(
        "servers",
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("incarnation", sa.String(length=64), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_servers")),
    )


def create_submissions() -> None:
    op.create_table(
        "submissions",
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("job_ids", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_submissions")),
    )
    op.create_index("ix_submissions_created_at", "submissions", ["created_at"], unique=False)


def create_tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("id", BigId, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("scope", sa.String(length=10), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
    )


def create_workers() -> None:
    op.create_table(
        "workers",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("hostname", sa.String(length=255), nullable=False),
        sa.Column("agent_version", sa.String(length=50), nullable=False),
        sa.Column("incarnation", sa.String(length=64), nullable=False),
        sa.Column("runtimes", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("draining", sa.Boolean(), nullable=False),
        sa.Column("registered_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("retired_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_workers")),
    )


def create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        sa.Column("lambda_id", sa.BigInteger(), nullable=False),
        sa.Column("lane_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("input_id", sa.BigInteger(), nullable=False),
        sa.Column("output_id", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("vanished", sa.SmallInteger(), nullable=False),
        sa.Column("lease", sa.String(length=40), nullable=True),
        sa.Column("lease_kind", sa.String(length=8), nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("last_lease", sa.String(length=40), nullable=True),
        sa.Column("worker_id", sa.BigInteger(), nullable=True),
        sa.Column("incarnation", sa.String(length=64), nullable=True),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("key", sa.String(length=255), nullable=True),
        sa.Column("key_digest", sa.LargeBinary(length=32), nullable=True),
        sa.Column("tags", sa.Text(), nullable=True),
        sa.Column("options", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("usage", sa.Text(), nullable=True),
        *job_rules(),
    )
    index_jobs()


def job_rules() -> list[sa.Constraint]:
    """What a row of jobs can never contradict."""
    return [
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('Finished', 'Fail_Execution', 'Cancelled'))",
            name=op.f("ck_jobs_final"),
        ),
        sa.CheckConstraint(
            "(state = 'Running') = (lease IS NOT NULL AND lease_kind IS NOT NULL AND lease_until IS NOT NULL"
            " AND worker_id IS NOT NULL)",
            name=op.f("ck_jobs_leased"),
        ),
        sa.CheckConstraint("state <> 'Waiting' OR due_at IS NOT NULL", name=op.f("ck_jobs_waiting")),
        sa.CheckConstraint(
            "state IN ('Paused', 'Waiting', 'Enqueued', 'PreAssigned', 'Running', 'Finished', 'Fail_Execution',"
            " 'Cancelled')",
            name=op.f("ck_jobs_state"),
        ),
        sa.CheckConstraint(
            "attempt >= 0 AND vanished >= 0 AND attempt <= max_attempts + vanished", name=op.f("ck_jobs_attempts")
        ),
        sa.ForeignKeyConstraint(["lambda_id"], ["lambdas.id"], name=op.f("fk_jobs_lambda_id")),
        sa.ForeignKeyConstraint(["lane_id"], ["lanes.id"], name=op.f("fk_jobs_lane_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    ]


def index_jobs() -> None:
    create_partial_index(
        "ix_jobs_claim",
        "jobs",
        ["lane_id", sa.literal_column("priority DESC"), "id"],
        where="state = 'Enqueued'",
        unique=False,
    )
    create_partial_index("ix_jobs_due", "jobs", ["due_at"], where="state = 'Waiting'", unique=False)
    create_partial_index(
        "ix_jobs_expiring",
        "jobs",
        ["expires_at"],
        where="expires_at IS NOT NULL AND state IN ('Paused', 'Waiting', 'Enqueued')",
        unique=False,
    )
    create_partial_index("ix_jobs_held", "jobs", ["worker_id"], where="state = 'Running'", unique=False)
    create_partial_index("ix_jobs_input", "jobs", ["input_id"], where="finished_at IS NULL", unique=False)
    create_partial_index("ix_jobs_leased", "jobs", ["lease_until"], where="state = 'Running'", unique=False)
    create_partial_index("uq_jobs_key", "jobs", ["key"], where="key IS NOT NULL", unique=True)


def create_partial_index(name: str, table: str, columns: list[object], *, where: str, unique: bool) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
