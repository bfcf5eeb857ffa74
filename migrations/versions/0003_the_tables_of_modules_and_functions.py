"""The tables of modules and functions."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

BigId = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = ("modules", "functions", "revisions", "urls", "hosts", "replicas")


def upgrade() -> None:
    create_modules()
    create_functions()
    create_revisions()
    create_urls()
    create_hosts()
    create_replicas()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def name(column: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(column, sa.String(length=100), nullable=nullable)


def create_modules() -> None:
    op.create_table(
        "modules",
        name("org"),
        name("module"),
        name("tag"),
        sa.Column("blob_id", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("abi", sa.String(length=200), nullable=False),
        sa.Column("info", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("org", "module", "tag", name=op.f("pk_modules")),
    )
    op.create_index("ix_modules_blob_id", "modules", ["blob_id"], unique=False)
    op.create_index("ix_modules_sha256", "modules", ["sha256"], unique=False)


def create_functions() -> None:
    op.create_table(
        "functions",
        name("name"),
        name("default_revision", nullable=True),
        sa.Column("split", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_functions")),
    )


def create_revisions() -> None:
    op.create_table(
        "revisions",
        name("function"),
        name("name"),
        sa.Column("lambda_id", sa.BigInteger(), nullable=True),
        sa.Column("module", sa.Text(), nullable=True),
        sa.Column("replicas", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "replicas >= 0 AND (replicas = 0 OR lambda_id IS NOT NULL)", name=op.f("ck_revisions_replicas")
        ),
        sa.ForeignKeyConstraint(["function"], ["functions.name"], name=op.f("fk_revisions_function")),
        sa.ForeignKeyConstraint(["lambda_id"], ["lambdas.id"], name=op.f("fk_revisions_lambda_id")),
        sa.PrimaryKeyConstraint("function", "name", name=op.f("pk_revisions")),
    )
    op.create_index("ix_revisions_lambda_id", "revisions", ["lambda_id"], unique=False)


def create_urls() -> None:
    op.create_table(
        "urls",
        name("function"),
        name("revision"),
        sa.Column("url", sa.String(length=500), nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("source = 'file' OR source = 'request'", name=op.f("ck_urls_source")),
        sa.ForeignKeyConstraint(
            ["function", "revision"], ["revisions.function", "revisions.name"], name=op.f("fk_urls_function")
        ),
        sa.PrimaryKeyConstraint("function", "revision", "url", name=op.f("pk_urls")),
    )


def create_hosts() -> None:
    op.create_table(
        "hosts",
        sa.Column("worker_id", BigId, autoincrement=False, nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name=op.f("pk_hosts")),
    )


def create_replicas() -> None:
    op.create_table(
        "replicas",
        sa.Column("id", BigId, autoincrement=False, nullable=False),
        name("function"),
        name("revision"),
        sa.Column("worker_id", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("url", sa.String(length=500), nullable=True),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("p50_ms", sa.Float(), nullable=True),
        sa.Column("p99_ms", sa.Float(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("log", sa.LargeBinary(), nullable=False),
        sa.Column("log_start", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "state = 'starting' OR state = 'running' OR state = 'failed' OR state = 'stopping'",
            name=op.f("ck_replicas_state"),
        ),
        sa.CheckConstraint("state <> 'running' OR url IS NOT NULL", name=op.f("ck_replicas_running")),
        sa.ForeignKeyConstraint(
            ["function", "revision"], ["revisions.function", "revisions.name"], name=op.f("fk_replicas_function")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_index("ix_replicas_function_revision", "replicas", ["function", "revision"], unique=False)
    op.create_index("ix_replicas_worker_id", "replicas", ["worker_id"], unique=False)
