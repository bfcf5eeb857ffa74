"""The tables of modules and functions; ``tables.py`` has the others. ``metadata`` from here has all of them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
)

from piecework.server.store.engine.metadata import BigId, metadata
from piecework.server.store.engine.tables import NAME_LENGTH

modules = Table(
    "modules",
    metadata,
    Column("org", String(NAME_LENGTH), primary_key=True),
    Column("module", String(NAME_LENGTH), primary_key=True),
    Column("tag", String(NAME_LENGTH), primary_key=True),
    Column("blob_id", BigInteger, nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("abi", String(200), nullable=False),  # what inspection says that it is
    Column("info", Text, nullable=False),  # what its author says
    Column("created_at", BigInteger, nullable=False),
    Index("ix_modules_blob_id", "blob_id"),
    Index("ix_modules_sha256", "sha256"),
)

functions = Table(
    "functions",
    metadata,
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("default_revision", String(NAME_LENGTH)),  # NULL: the revision named "default", or the split
    Column("split", Text),  # JSON of weights by revision
    Column("created_at", BigInteger, nullable=False),
)

revisions = Table(
    "revisions",
    metadata,
    Column("function", String(NAME_LENGTH), ForeignKey("functions.name"), primary_key=True),
    Column("name", String(NAME_LENGTH), primary_key=True),
    Column("lambda_id", BigInteger, ForeignKey("lambdas.id")),  # NULL: only its URLs are known
    Column("module", Text),  # org/module/tag@sha256:digest
    Column("replicas", Integer, nullable=False),  # how many are wanted
    Column("created_at", BigInteger, nullable=False),
    CheckConstraint("replicas >= 0 AND (replicas = 0 OR lambda_id IS NOT NULL)", name="replicas"),
    Index("ix_revisions_lambda_id", "lambda_id"),
)

urls = Table(
    "urls",
    metadata,
    Column("function", String(NAME_LENGTH), primary_key=True),
    Column("revision", String(NAME_LENGTH), primary_key=True),
    Column("url", String(500), primary_key=True),
    Column("source", String(10), nullable=False),  # file | request: who added it
    Column("created_at", BigInteger, nullable=False),
    ForeignKeyConstraint(["function", "revision"], ["revisions.function", "revisions.name"]),
    CheckConstraint("source = 'file' OR source = 'request'", name="source"),
)

hosts = Table(
    "hosts",
    metadata,
    Column("worker_id", BigId, primary_key=True, autoincrement=False),
    Column("slots", Integer, nullable=False),  # replicas that it runs at most
    Column("seen_at", BigInteger, nullable=False),
)

replicas = Table(
    "replicas",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("function", String(NAME_LENGTH), nullable=False),
    Column("revision", String(NAME_LENGTH), nullable=False),
    Column("worker_id", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("url", String(500)),  # NULL: it does not answer yet
    Column("pid", Integer),
    Column("token", String(64), nullable=False),  # what the proxy shows to it
    Column("error", Text, nullable=False),
    Column("calls", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("p50_ms", Float),
    Column("p99_ms", Float),
    Column("since", BigInteger, nullable=False),  # when it got into its state
    Column("log", LargeBinary, nullable=False),
    Column("log_start", BigInteger, nullable=False),  # bytes that were dropped before log
    Column("unrecorded", Text),  # JSON of calls that were not recorded, by the reason; NULL: none
    ForeignKeyConstraint(["function", "revision"], ["revisions.function", "revisions.name"]),
    CheckConstraint(
        "state = 'starting' OR state = 'running' OR state = 'failed' OR state = 'stopping'", name="state"
    ),
    CheckConstraint("state <> 'running' OR url IS NOT NULL", name="running"),
    Index("ix_replicas_function_revision", "function", "revision"),
    Index("ix_replicas_worker_id", "worker_id"),
)
ended_logs = Table(
    "ended_logs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("replica_id", BigInteger, nullable=False),  # its row may be gone, or have another process
    Column("ended_at", BigInteger, nullable=False),
    Column("function", String(NAME_LENGTH), nullable=False),
    Column("revision", String(NAME_LENGTH), nullable=False),
    Column("worker_name", Text, nullable=False),
    Column("start", BigInteger, nullable=False),  # bytes that were dropped before content
    Column("content", LargeBinary, nullable=False),
    ForeignKeyConstraint(["function", "revision"], ["revisions.function", "revisions.name"]),
    Index("ix_ended_logs_function_revision", "function", "revision"),
)

recorded_calls = Table(
    "recorded_calls",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("function", String(NAME_LENGTH), nullable=False),
    Column("revision", String(NAME_LENGTH), nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("took_s", Float, nullable=False),
    Column("method", Text, nullable=False),
    Column("uri", Text, nullable=False),  # the beginning of a long one
    Column("status", Integer),  # NULL: the function failed
    Column("error", String(20)),  # why it failed
    Column("fuel", BigInteger),
    Column("memory_bytes", BigInteger),
    Column("size", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    ForeignKeyConstraint(["function", "revision"], ["revisions.function", "revisions.name"]),
    Index("ix_recorded_calls_function_revision", "function", "revision", "id"),
    Index("ix_recorded_calls_at", "at"),
)
"""Calls that replicas recorded, to be replayed against the next revision."""
