"""The tables, as the statements of this package name them. Alembic's migrations create them.

Times are milliseconds since 1970 in UTC, ids are 64-bit integers, JSON is kept as text.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a column the row's own key only when it is spelled INTEGER.
BigId = BigInteger().with_variant(Integer, "sqlite")

blobs = Table(
    "blobs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),  # NULL: the bytes are in the blob store, under their digest
    Column("created_at", BigInteger, nullable=False),
)
Index(
    "ix_blobs_stored",
    blobs.c.sha256,
    sqlite_where=text("content IS NULL"),
    postgresql_where=text("content IS NULL"),
)

lambdas = Table(
    "lambdas",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("codex", BigInteger, nullable=False),  # may name no blob: old clients make ids up
    Column("runtime", String(200), nullable=False),
    Column("name", String(200)),
    Column("options", Text, nullable=False),  # tags, args, env, limits, grants, deterministic, mode
    Column("created_at", BigInteger, nullable=False),
    Index("ix_lambdas_codex", "codex"),
)

lanes = Table(
    "lanes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("runtime", String(200), nullable=False),
    Column("necessary", Text, nullable=False),  # sorted JSON list
    Column("rejected", Text, nullable=False),  # sorted JSON list
    UniqueConstraint("runtime", "necessary", "rejected", name="uq_lanes_content"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("name", String(200), nullable=False),
    Column("hostname", String(255), nullable=False),
    Column("agent_version", String(50), nullable=False),
    Column("incarnation", String(64), nullable=False),
    Column("runtimes", Text, nullable=False),  # JSON list
    Column("tags", Text, nullable=False),  # JSON list
    Column("slots", Integer, nullable=False),
    Column("draining", Boolean, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("retired_at", BigInteger),
    Column("trouble", String(500)),  # NULL: it takes jobs
    Column("lapsed_at", BigInteger),  # when a lease of its process last ran out
    Column("stopped_at", BigInteger),  # NULL: its process works, or went without a word
)

# Spelled with OR: for IN, SQLite makes a table of the list whenever a row is checked, and the check takes longer
# than the rest of the write.
FINAL = "state = 'Finished' OR state = 'Fail_Execution' OR state = 'Cancelled'"
STATES = (
    "state = 'Paused' OR state = 'Waiting' OR state = 'Enqueued' OR state = 'PreAssigned' OR state = 'Running'"
    f" OR {FINAL}"
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("lambda_id", BigInteger, ForeignKey("lambdas.id"), nullable=False),
    Column("lane_id", BigInteger, ForeignKey("lanes.id"), nullable=False),
    Column("state", String(16), nullable=False),
    Column("priority", SmallInteger, nullable=False),
    Column("input_id", BigInteger, nullable=False),  # 0: no input
    Column("output_id", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("vanished", SmallInteger, nullable=False),  # attempts whose worker vanished
    Column("lease", String(40)),
    Column("lease_kind", String(8)),  # a LeaseKind, see server/store/records.py
    Column("lease_until", BigInteger),
    Column("last_lease", String(40)),  # under which the last outcome was accepted
    Column("worker_id", BigInteger),
    Column("incarnation", String(64)),
    Column("due_at", BigInteger),
    Column("expires_at", BigInteger),
    Column("created_at", BigInteger, nullable=False),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("key", String(255)),
    Column("key_digest", LargeBinary(32)),
    Column("tags", Text),  # JSON list; NULL: none
    Column("options", Text),  # JSON of server.store.records.JobOptions; NULL: all default
    Column("error", Text),  # JSON of the last failed attempt's error
    Column("usage", Text),  # JSON
    CheckConstraint(STATES, name="state"),
    CheckConstraint(f"(finished_at IS NOT NULL) = ({FINAL})", name="final"),
    CheckConstraint(
        "(state = 'Running') = (lease IS NOT NULL AND lease_kind IS NOT NULL AND lease_until IS NOT NULL"
        " AND worker_id IS NOT NULL)",
        name="leased",
    ),
    CheckConstraint("state <> 'Waiting' OR due_at IS NOT NULL", name="waiting"),
    CheckConstraint("attempt >= 0 AND vanished >= 0 AND attempt <= max_attempts + vanished", name="attempts"),
)


def _partial(name: str, *columns: ColumnElement[Any], where: str, unique: bool = False) -> Index:
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


_partial("ix_jobs_claim", jobs.c.lane_id, jobs.c.priority.desc(), jobs.c.id, where="state = 'Enqueued'")
_partial("ix_jobs_leased", jobs.c.lease_until, where="state = 'Running'")
_partial("ix_jobs_held", jobs.c.worker_id, where="state = 'Running'")
_partial("ix_jobs_due", jobs.c.due_at, where="state = 'Waiting'")
_partial(
    "ix_jobs_expiring",
    jobs.c.expires_at,
    where="expires_at IS NOT NULL AND state IN ('Paused', 'Waiting', 'Enqueued')",
)
_partial("ix_jobs_input", jobs.c.input_id, where="finished_at IS NULL")
_partial("uq_jobs_key", jobs.c.key, where="key IS NOT NULL", unique=True)

submissions = Table(
    "submissions",
    metadata,
    Column("key", String(255), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False),  # of what was submitted
    Column("job_ids", LargeBinary, nullable=False),  # 8 bytes each, big-endian, in order
    Column("created_at", BigInteger, nullable=False),
    Index("ix_submissions_created_at", "created_at"),
)

events = Table(
    "events",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("job_id", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("state", String(16), nullable=False),
    Column("worker_id", BigInteger),
    Column("attempt", Integer, nullable=False),
    Column("lease", String(40)),
    Column("detail", Text, nullable=False),
    Column("since", BigInteger),  # of an event that ended a lease: when the lease began
    Index("ix_events_job_id", "job_id"),
)

logs = Table(
    "logs",
    metadata,
    Column("job_id", BigInteger, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("start", BigInteger, nullable=False),  # bytes that were dropped before content
    Column("content", LargeBinary, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("name", String(100), nullable=False),
    Column("scope", String(10), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

servers = Table(
    "servers",
    metadata,
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("incarnation", String(64), nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)

NAME_LENGTH = 100
"""Of organisations, modules, tags, functions and revisions."""

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

namespaces = Table(
    "namespaces",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("consistency", String(10), nullable=False),
    Column("epoch", BigInteger, nullable=False),  # one more with each flush
    Column("swept_epoch", BigInteger, nullable=False),  # no entry of an older one is left
    Column("created_at", BigInteger, nullable=False),
    Column("removed_at", BigInteger),
    CheckConstraint("consistency = 'none' OR consistency = 'eventual'", name="consistency"),
    CheckConstraint("swept_epoch <= epoch", name="epochs"),
)
_partial("ix_namespaces_unswept", namespaces.c.id, where="removed_at IS NOT NULL OR swept_epoch < epoch")

entries = Table(
    "entries",
    metadata,
    Column("namespace_id", BigInteger, ForeignKey("namespaces.id"), primary_key=True),
    Column("epoch", BigInteger, primary_key=True),  # only those of their namespace's own are there for anyone
    Column("key", LargeBinary, primary_key=True),  # UTF-8: bytes have one order, whatever the database
    Column("value", LargeBinary, nullable=False),  # UTF-8
    Column("expires_at", BigInteger),
    Column("changed_at", BigInteger, nullable=False),
)
_partial("ix_entries_expiring", entries.c.expires_at, where="expires_at IS NOT NULL")

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
