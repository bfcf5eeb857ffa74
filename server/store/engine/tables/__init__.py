"""The tables, as the statements of this package name them, but for those of functions. Migrations create them.

Times are milliseconds since 1970 in UTC, ids are 64-bit integers, JSON is kept as text.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from piecework.server.store.engine.metadata import BigId, metadata, partial_index as _partial
from piecework.server.store.engine.tables.audit import audit
from piecework.server.store.engine.tables.bulk import bulk_steps
from piecework.server.store.engine.tables.counters import counters
from piecework.server.store.engine.tables.feed import feed
from piecework.server.store.engine.tables.files import job_files, job_journals
from piecework.server.store.engine.tables.limits import limits, tenants
from piecework.server.store.engine.tables.memos import memo_stops, memos
from piecework.server.store.engine.tables.namespaces import entries, namespaces
from piecework.server.store.engine.tables.tokens import quotas, signing_keys, tokens
from piecework.server.store.engine.tables.votes import owners, votes
from piecework.server.store.engine.tables.webhooks import webhooks

__all__ = [
    "audit",
    "bulk_steps",
    "counters",
    "entries",
    "feed",
    "job_files",
    "job_journals",
    "limits",
    "memo_stops",
    "memos",
    "metadata",
    "namespaces",
    "owners",
    "quotas",
    "signing_keys",
    "tenants",
    "tokens",
    "votes",
    "webhooks",
]

NAME_LENGTH = 100
"""Of groups, schedules, organisations, modules, tags, functions and revisions."""

blobs = Table(
    "blobs",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("sha256", LargeBinary(32), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", LargeBinary),  # NULL: the bytes are in the blob store, under their digest
    Column("created_at", BigInteger, nullable=False),
    Column("name", String(255)),  # what its file was called where it came from
)
_partial("ix_blobs_stored", blobs.c.sha256, where="content IS NULL")

lambdas = Table(
    "lambdas",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("codex", BigInteger, nullable=False),  # may name no blob: old clients make ids up
    Column("runtime", String(200), nullable=False),
    Column("name", String(200)),
    Column("options", Text, nullable=False),  # tags, args, env, limits, grants, deterministic, mode
    Column("created_at", BigInteger, nullable=False),
    Column("codex_sha256", LargeBinary(32)),  # NULL: there was no such blob when the lambda was made
    Column("deleted_at", BigInteger),  # nobody can name it any more; it goes with the last of its jobs
    Index("ix_lambdas_codex", "codex"),
)

lanes = Table(
    "lanes",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("runtime", String(200), nullable=False),
    Column("necessary", Text, nullable=False),  # sorted JSON list
    Column("rejected", Text, nullable=False),  # sorted JSON list
    Column("tenant", String(100), nullable=False),  # among tenants, the jobs of one priority take turns
    UniqueConstraint("runtime", "necessary", "rejected", "tenant", name="uq_lanes_content"),
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
    Column("skew_ms", BigInteger),  # how far its clock is ahead of the server's; NULL: it did not tell
    Column("public_key", LargeBinary(32)),  # its receipts are checked with; NULL: it has none
    Column("owner", String(100)),  # the name of the token that it registered with
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
    Column("options", Text),  # JSON of piecework.server.store.records.JobOptions; NULL: all default
    Column("error", Text),  # JSON of the last failed attempt's error
    Column("usage", Text),  # JSON
    Column("group_id", BigInteger),
    Column("submitter", String(100)),  # the name of the token that submitted it
    Column("waits", String(8)),  # what it waits for other than a time: after | key | rate | hold, see WaitsFor
    Column("pending", Integer),  # jobs that it waits for and that are not final
    Column("awaited", Boolean),  # NULL: no job waits for it
    Column("retry_of", BigInteger),  # the job that it runs again in an edited form
    Column("concurrency_key", String(255)),
    Column("rate_key", String(255)),
    Column("retain_ms", BigInteger),  # it stays so long; NULL: as the settings say; 0: until read; -1: for ever
    Column("schedule_id", BigInteger),  # whose tick it was submitted for
    Column("counted", Boolean),  # it counts towards the quota of its submitter; NULL: it does not
    CheckConstraint(STATES, name="state"),
    CheckConstraint(f"(finished_at IS NOT NULL) = ({FINAL})", name="final"),
    CheckConstraint(
        "(state = 'Running') = (lease IS NOT NULL AND lease_kind IS NOT NULL AND lease_until IS NOT NULL"
        " AND worker_id IS NOT NULL)",
        name="leased",
    ),
    CheckConstraint("state <> 'Waiting' OR due_at IS NOT NULL OR waits IS NOT NULL", name="waiting"),
    CheckConstraint(
        "waits IS NULL OR (waits = 'after' OR waits = 'key' OR waits = 'rate') AND state = 'Waiting'"
        " OR waits = 'hold' AND state = 'Paused'",
        name="waits",
    ),
    CheckConstraint("attempt >= 0 AND vanished >= 0 AND attempt <= max_attempts + vanished", name="attempts"),
)

_partial("ix_lambdas_name", lambdas.c.name, lambdas.c.id, where="name IS NOT NULL")
_partial("ix_lambdas_deleted", lambdas.c.deleted_at, where="deleted_at IS NOT NULL")
_partial("ix_lambdas_codex_sha256", lambdas.c.codex_sha256, lambdas.c.id, where="codex_sha256 IS NOT NULL")
_partial("ix_jobs_claim", jobs.c.priority.desc(), jobs.c.lane_id, jobs.c.id, where="state = 'Enqueued'")
# PostgreSQL would use it for claims while the table is empty, skipping from lambda to lambda, and keep that plan.
_partial(
    "ix_jobs_enqueued", jobs.c.lambda_id, jobs.c.lane_id, jobs.c.created_at, where="state = 'Enqueued'"
).ddl_if(dialect="sqlite")
_partial("ix_jobs_leased", jobs.c.lease_until, where="state = 'Running'")
_partial("ix_jobs_held", jobs.c.worker_id, where="state = 'Running'")
_partial("ix_jobs_due", jobs.c.due_at, where="state = 'Waiting' AND waits IS NULL")
_partial(
    "ix_jobs_expiring",
    jobs.c.expires_at,
    where="expires_at IS NOT NULL AND state IN ('Paused', 'Waiting', 'Enqueued')",
)
Index("ix_jobs_input", jobs.c.input_id, jobs.c.finished_at)
_partial("ix_jobs_output", jobs.c.output_id, where="output_id IS NOT NULL")
Index("ix_jobs_lambda", jobs.c.lambda_id, jobs.c.id)
Index("ix_jobs_lane", jobs.c.lane_id)
_partial("ix_jobs_ended", jobs.c.state, jobs.c.finished_at, where="finished_at IS NOT NULL")
_partial("ix_jobs_group", jobs.c.group_id, jobs.c.id, where="group_id IS NOT NULL")
_partial("ix_jobs_group_state", jobs.c.group_id, jobs.c.state, jobs.c.id, where="group_id IS NOT NULL")
_partial("ix_jobs_waits", jobs.c.waits, jobs.c.id, where="waits IS NOT NULL")
_partial("ix_jobs_retry_of", jobs.c.retry_of, where="retry_of IS NOT NULL")
_partial("ix_jobs_counted", jobs.c.submitter, where="counted IS NOT NULL AND finished_at IS NULL")
_partial("ix_jobs_parked", jobs.c.id, where="waits = 'hold'")
_partial("ix_jobs_schedule", jobs.c.schedule_id, jobs.c.id, where="schedule_id IS NOT NULL")
_partial("ix_jobs_schedule_open", jobs.c.schedule_id, where="schedule_id IS NOT NULL AND finished_at IS NULL")
OWN_END = jobs.c.finished_at + jobs.c.retain_ms  # when a job's time is over that says itself how long it stays
_partial("ix_jobs_retained", OWN_END, where="retain_ms > 0")
_partial("ix_jobs_unread", jobs.c.finished_at, where="retain_ms = 0")
for _name in ("concurrency_key", "rate_key"):
    _partial(
        f"ix_jobs_{_name}",
        *(jobs.c[_name], jobs.c.state, jobs.c.waits, jobs.c.lane_id, jobs.c.priority.desc(), jobs.c.id),
        where=f"{_name} IS NOT NULL AND finished_at IS NULL",
    )
_partial("uq_jobs_key", jobs.c.key, where="key IS NOT NULL", unique=True)

holds = Table(
    "holds",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("kind", String(8), nullable=False),
    Column("target", String(200), nullable=False),  # the id of a lambda or group, the name of a runtime or tenant
    Column("note", String(500), nullable=False),
    Column("held_at", BigInteger, nullable=False),
    Column("held_by", String(100)),  # the name of a token
    Column("released_at", BigInteger),  # NULL: it holds; else jobs that it parked may be left
    CheckConstraint("kind = 'lambda' OR kind = 'runtime' OR kind = 'group' OR kind = 'tenant'", name="kind"),
    UniqueConstraint("kind", "target", name="uq_holds_target"),
)

schedules = Table(
    "schedules",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("cron", String(500)),
    Column("every_ms", BigInteger),
    Column("timezone", String(100), nullable=False),  # that the cron line is read in
    Column("anchor_at", BigInteger, nullable=False),  # intervals are counted from here
    Column("catch_up", String(4), nullable=False),  # skip | one | all
    Column("overlap", String(7), nullable=False),  # allow | skip | replace
    Column("jitter_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger),  # how long after its tick a job may start; NULL: for ever
    Column("spec", Text, nullable=False),  # JSON of the JobSpec of its jobs
    Column("input_id", BigInteger, nullable=False),  # which the spec names; 0: none
    Column("submitter", String(100)),  # the name of the token that it was created with
    Column("created_at", BigInteger, nullable=False),
    Column("changed_at", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),  # one more with each change by a person
    Column("paused_at", BigInteger),
    Column("next_at", BigInteger),  # NULL: it is paused, or never ticks again
    Column("last_at", BigInteger),  # when it last submitted a job
    Column("last_job_id", BigInteger),
    Column("error", Text),  # why its last tick submitted none though it should have
    UniqueConstraint("name"),
    CheckConstraint("(cron IS NULL) <> (every_ms IS NULL)", name="timing"),
    CheckConstraint("paused_at IS NULL OR next_at IS NULL", name="paused"),
    CheckConstraint("catch_up = 'skip' OR catch_up = 'one' OR catch_up = 'all'", name="catch_up"),
    CheckConstraint("overlap = 'allow' OR overlap = 'skip' OR overlap = 'replace'", name="overlap"),
    Index("ix_schedules_input_id", "input_id"),
)
_partial("ix_schedules_next", schedules.c.next_at, where="next_at IS NOT NULL")

ticks = Table(
    "ticks",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=True),
    Column("schedule_id", BigInteger, nullable=False),  # which may be gone
    Column("at", BigInteger, nullable=False),  # when it was due
    Column("kind", String(6), nullable=False),  # a TickKind, see server/store/queue/schedules/schedule_records.py
    Column("noted_at", BigInteger, nullable=False),
    Column("outcome", String(9), nullable=False),  # submitted | skipped | failed | missed
    Column("job_id", BigInteger),
    Column("detail", Text, nullable=False),
    UniqueConstraint("schedule_id", "at", "kind"),  # whoever adds the row has the tick, of any number of servers
    CheckConstraint("(outcome = 'submitted') = (job_id IS NOT NULL)", name="outcome"),
    Index("ix_ticks_schedule_id", "schedule_id", "id"),
)
dependencies = Table(
    "dependencies",
    metadata,
    Column("child_id", BigInteger, primary_key=True, autoincrement=False),  # the job that waits
    Column("parent_id", BigInteger, primary_key=True, autoincrement=False),  # the job, or group, that it waits for
    Column("name", String(100), primary_key=True),  # as what it gets something, see Edge.name in relations.py
    Column("state", String(8), nullable=False),  # an EdgeState, see server/store/queue/dependencies/relations.py
    Column("blob_id", BigInteger),  # what it gets; NULL: nothing, or not yet; 0: an empty file
    CheckConstraint("state = 'open' OR state = 'done' OR state = 'broken'", name="state"),
    Index("ix_dependencies_parent_id_state", "parent_id", "state"),
)
_partial("ix_dependencies_blob_id", dependencies.c.blob_id, where="blob_id IS NOT NULL")
settlings = Table(
    "settlings",
    metadata,
    Column("parent_id", BigId, primary_key=True, autoincrement=False),  # a job or group that ended, or goes on
    Column("state", String(16), nullable=False),
    Column("output_id", BigInteger),
)
groups = Table(
    "groups",
    metadata,
    Column("id", BigId, primary_key=True, autoincrement=False),
    Column("name", String(NAME_LENGTH)),
    Column("submitter", String(100)),
    Column("created_at", BigInteger, nullable=False),
    Column("sealed_at", BigInteger),  # NULL: it is open, and jobs may join
    Column("done_at", BigInteger),  # when all members were final, once it was sealed
    Column("state", String(16)),  # once it is done: Finished when all of them finished, else Fail_Execution
    Column("output_id", BigInteger),  # once it is done: what became of each member; NULL: nobody waits for that
    Column("on_end", String(100)),  # the name of the webhook that is told then
    CheckConstraint("(done_at IS NOT NULL) = (state IS NOT NULL)", name="done"),
    CheckConstraint("done_at IS NULL OR sealed_at IS NOT NULL", name="sealed"),
)
_partial("ix_groups_name", groups.c.name, groups.c.id, where="name IS NOT NULL")
_partial("uq_groups_open", groups.c.name, where="name IS NOT NULL AND sealed_at IS NULL", unique=True)
_partial("ix_groups_output_id", groups.c.output_id, where="output_id IS NOT NULL")
_partial("ix_groups_closing", groups.c.id, where="sealed_at IS NOT NULL AND done_at IS NULL")

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

servers = Table(
    "servers",
    metadata,
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("incarnation", String(64), nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("schema", String(32)),  # the newest version that the server's program knows
)

schema_contract = Table(
    "schema_contract",
    metadata,
    Column("revision", String(32), primary_key=True),  # the one row is of this schema or the one after it
    Column("oldest", String(32), nullable=False),  # servers that know no newer one than that are refused
)
