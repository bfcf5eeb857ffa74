"""What the store gives back: frozen records, no rows, no sessions. Times are milliseconds since 1970."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import msgspec

from piecework.protocol.messages import JobError, Usage
from piecework.protocol.names import ModuleName
from piecework.protocol.states import JobState
from piecework.server.store.job_keys import NO_KEYS, JobKeys
from piecework.server.store.options import JobOptions, LambdaOptions, read_options

LeaseKind = Literal["fenced", "unseen", "first", "unfenced"]
"""``fenced``: its worker shows the token. ``unseen``: it will, but did not yet; the request slept, and its caller
may have died meanwhile. A job whose lease nobody took up keeps this word until it is leased again.
``first`` and ``unfenced``: its worker does not know the token. The first is short; its next request about the job
shows that it lives, and makes it the second.
"""
FENCED: frozenset[LeaseKind | None] = frozenset({"fenced", "unseen", None})
WaitsFor = Literal["after", "key", "rate", "hold"]
"""What a job waits for that is not a time: ``after`` other jobs, for room under the limit of its concurrency
``key`` or ``rate`` key (all Waiting), or until what it belongs to is taken off ``hold`` (Paused)."""

Scope = Literal["view", "invoke", "submit", "worker", "operate", "admin"]
"""What a token allows, and what an endpoint asks for; ``services/tokens/access.py`` says what covers what."""


class Blob(NamedTuple):
    """Immutable bytes."""

    id: int
    sha256: bytes
    """32 bytes."""
    size: int
    content: bytes | None
    """The bytes, or None when they are in the blob store under their digest."""
    created_at: int
    name: str | None = None
    """What its file was called where it came from."""


class Module(NamedTuple):
    """A blob that has a name and a tag in the registry."""

    org: str
    module: str
    tag: str
    blob_id: int
    """Of a blob that no other module has."""
    sha256: bytes
    """32 bytes, of the blob."""
    size: int
    abi: str
    """What inspection says that it is, such as ``wasi`` or ``capsule 4``."""
    info: str
    """What its author says."""
    created_at: int

    @property
    def name(self) -> ModuleName:
        """Its name with the digest: it means these bytes for ever."""
        return ModuleName(self.org, self.module, self.tag, self.sha256.hex())


@dataclass(frozen=True, slots=True)
class Lambda:
    """Code, the runtime it needs, and defaults for its jobs."""

    id: int
    codex: int
    runtime: str
    name: str | None
    options: LambdaOptions
    created_at: int
    codex_sha256: bytes | None = None
    """Of its code; None when there was no such blob when it was made."""
    deleted_at: int | None = None  # nobody can name it any more


class Worker(NamedTuple):
    """A registered worker."""

    id: int
    name: str
    hostname: str
    agent_version: str
    incarnation: str
    runtimes: tuple[str, ...]
    tags: tuple[str, ...]
    slots: int
    draining: bool
    registered_at: int
    seen_at: int
    retired_at: int | None
    lapsed_at: int | None = None
    """When a lease of its process last ran out: whoever waited for it before that has gone."""
    stopped_at: int | None = None
    """When its process said that it ends."""
    trouble: str | None = None
    """Why it takes no jobs now, in its own words."""
    skew_ms: int | None = None
    """How far its clock is ahead of the server's; None: it did not tell."""
    public_key: bytes | None = None
    """What its receipts are checked with; None: it signs none."""
    owner: str | None = None
    """The name of the token that it registered with; None: that was asked for by nobody."""
    running: int = 0
    """Jobs that it holds; only filled in by the reads for people."""

    @property
    def whose(self) -> str:
        """What tells workers of one owner: the token's name; without one, each worker has an owner of its own."""
        return f"worker {self.id}" if self.owner is None else self.owner

    @property
    def takes_jobs(self) -> bool:
        """Its process may be given further jobs."""
        return not self.draining and self.stopped_at is None


class KeptUsage(Usage, kw_only=True, omit_defaults=True, frozen=True):
    """What an attempt used, as it is kept when its guest ended itself otherwise than with 0."""

    exit_code: int = 0


class Job(NamedTuple):
    """One job as it stands. What is kept as JSON is read when it is asked for: most callers never do."""

    id: int
    lambda_id: int
    lane_id: int
    state_name: str
    priority: int
    input_id: int
    output_id: int | None
    attempt: int
    max_attempts: int
    vanished: int
    lease: str | None
    lease_kind: LeaseKind | None
    lease_until: int | None
    last_lease: str | None
    worker_id: int | None
    incarnation: str | None
    due_at: int | None
    expires_at: int | None
    created_at: int
    started_at: int | None
    finished_at: int | None
    key: str | None
    key_digest: bytes | None
    tags_json: str | None
    options_json: str | None
    error_json: str | None
    usage_json: str | None
    group_id: int | None
    submitter: str | None
    """The name of the token that it was submitted with."""
    waits: WaitsFor | None
    pending: int | None
    """How many of the jobs that it waits for are not final."""
    awaited: bool | None
    """Whether jobs wait, or waited, for it."""
    retry_of: int | None
    """The job that it runs again in an edited form."""
    concurrency_key: str | None
    rate_key: str | None
    retain_ms: int | None
    """How long it stays once it is final; None: as the settings say; 0: until it was read; -1: for ever."""
    schedule_id: int | None
    """The schedule for whose tick it was submitted."""

    @property
    def state(self) -> JobState:
        return JobState(self.state_name)

    @property
    def is_unfenced(self) -> bool:
        """Whether it runs under a lease whose worker does not know the token."""
        return self.lease_kind not in FENCED

    @property
    def is_returned(self) -> bool:
        """Whether it came back from a request that slept and whose caller had gone: another may have gone, too."""
        return self.lease is None and self.lease_kind == "unseen"

    @property
    def tags(self) -> tuple[str, ...]:
        return tuple(msgspec.json.decode(self.tags_json)) if self.tags_json else ()

    @property
    def options(self) -> JobOptions:
        return read_options(self.options_json)

    @property
    def error(self) -> JobError | None:
        """Why the last failed attempt failed."""
        return msgspec.json.decode(self.error_json, type=JobError) if self.error_json else None

    @property
    def usage(self) -> Usage | None:
        """What the last attempt with an accepted outcome used."""
        return msgspec.json.decode(self.usage_json, type=Usage) if self.usage_json else None

    @property
    def exit_code(self) -> int | None:
        """With which the guest of the last attempt ended itself; None: it did not, or that is not known."""
        if self.usage_json and '"exit_code"' in self.usage_json:
            return msgspec.json.decode(self.usage_json, type=KeptUsage).exit_code
        return 0 if self.state is JobState.FINISHED else None


def read_job(row: tuple[Any, ...]) -> Job:
    """Return the job of a row with all columns. ``Job._make`` does the same, and looks at each row's length."""
    return tuple.__new__(Job, row)


_STATE, _ATTEMPT, _STARTED_AT, _LEASE, _LEASE_KIND, _LEASE_UNTIL, _WORKER_ID, _INCARNATION, _ERROR = map(
    Job._fields.index,
    ("state_name", "attempt", "started_at", "lease", "lease_kind", "lease_until", "worker_id", "incarnation",
     "error_json"),
)  # fmt: skip


class NewJob(NamedTuple):
    """A job about to be stored."""

    id: int
    input_id: int
    key: str | None
    key_digest: bytes | None
    lambda_id: int
    runtime: str
    state: JobState
    priority: int
    max_attempts: int
    due_at: int | None
    expires_at: int | None
    tags: tuple[str, ...]
    options: JobOptions | None
    group_id: int | None = None
    submitter: str | None = None
    waits: WaitsFor | None = None
    pending: int | None = None
    awaited: bool | None = None
    retry_of: int | None = None
    retain_ms: int | None = None
    schedule_id: int | None = None
    keys: JobKeys = NO_KEYS
    tenant: str = ""
    trace: str | None = None

    def like_this(self, id_: int, input_id: int, key: str | None) -> "NewJob":
        """Return a job that is like this one but for what each has of its own."""
        return NewJob(id_, input_id, key, None, *self[4:])


class LeaseGrant(NamedTuple):
    """What a contract leaves on the jobs that it leases."""

    lease: str
    kind: LeaseKind
    until: int
    worker_id: int
    incarnation: str

    def write_on(self, job: Job, now: int) -> Job:
        """Return a job that is enqueued as it is once it is leased."""
        fields: list[Any] = [*job]  # ``_replace`` takes as long as all else that a claim does with a job
        fields[_STATE], fields[_ATTEMPT], fields[_STARTED_AT] = JobState.RUNNING.value, job.attempt + 1, now
        fields[_LEASE], fields[_LEASE_KIND], fields[_LEASE_UNTIL] = self.lease, self.kind, self.until
        fields[_WORKER_ID], fields[_INCARNATION], fields[_ERROR] = self.worker_id, self.incarnation, None
        return read_job(tuple(fields))


class Held(NamedTuple):
    """A job that a worker holds."""

    job_id: int
    lambda_id: int
    since: int
    attempt: int


class LeaseEnd(NamedTuple):
    """How a lease ended, and where that leaves its job."""

    job_id: int
    lease: str
    state: JobState
    attempt: int
    vanished: int
    last_lease: str | None
    """The lease under which the last outcome was accepted: repeating that outcome is harmless."""
    output_id: int | None = None
    error: JobError | None = None
    usage: Usage | None = None
    due_at: int | None = None
    finished_at: int | None = None
    returned: bool = False
    """Nobody took the lease up."""


class Lane(NamedTuple):
    """All jobs of one tenant, empty for nobody, with the same runtime and necessary and rejected tags."""

    id: int
    runtime: str
    necessary: frozenset[str]
    rejected: frozenset[str]
    tenant: str = ""


class Event(NamedTuple):
    """One step in a job's life."""

    job_id: int
    at: int
    state: JobState
    worker_id: int | None = None
    attempt: int = 0
    lease: str | None = None
    detail: str = ""
    since: int | None = None
    """When the lease began that this ended; its beginning has no event of its own in the store."""
    is_change: bool = True  # else its job stayed in this state, or was submitted, which is told of anyway


@dataclass(frozen=True, slots=True)
class Log:
    """The kept part of one attempt's log."""

    start: int
    """Bytes dropped before ``content``."""
    content: bytes
    attempt: int

    @property
    def end(self) -> int:
        return self.start + len(self.content)


def extend_log(old: Log | None, part: Log, limit_bytes: int) -> Log:
    """Return a log with one more part, of which the newest ``limit_bytes`` are kept.

    ``part.start`` says where the part belongs: what is there already is not added twice, and a gap (a part that
    got lost on its way) drops what came before it.
    """
    if old is None or part.start > old.end:
        old = Log(part.start, b"", part.attempt)
    content = old.content + part.content[max(0, old.end - part.start) :]
    dropped = max(0, len(content) - limit_bytes)
    return Log(old.start + dropped, content[dropped:], part.attempt)
