"""Jobs: submitting them, looking at them, changing them."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, first_set
from piecework.protocol.messages.content import BlobRef, Content
from piecework.protocol.messages.lambdas import Limits
from piecework.protocol.messages.outcomes import JobError, Usage
from piecework.protocol.states import JobState

Seconds = Annotated[float, Meta(ge=0, le=10 * 366 * 86_400)]
"""A duration in seconds: not negative, at most ten years."""

LATER_OPTIONS = ("after", "on_failure", "group", "concurrency_key", "rate_key", "retain_s")
"""Options that the protocol names and this server refuses: ignoring them would break what they ask for."""


class Backoff(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """How long a failed job waits before its next attempt."""

    kind: Literal["exponential", "fixed", "none"] = "exponential"
    """``exponential``: a random share of ``base_s`` times 2^(attempt - 1), at least half of it."""
    base_s: Seconds = 1.0
    cap_s: Seconds = 300.0
    """No wait is longer."""


class JobSpec(Message, kw_only=True):
    """One job to submit. ``input_id``, ``functio`` and ``extra_tag`` are old names.

    Everything from ``priority`` on is an extension; a left-out option has the lambda's default, then
    the server's.
    """

    lambda_: Maybe[Id | None] = msgspec.field(default=UNSET, name="lambda")
    functio: Maybe[Id | None] = UNSET
    input: Maybe[BlobRef | None] = UNSET
    """A blob's id, or an object with the bytes: ``text``, ``base64``, ``json`` or ``bytes``."""
    input_id: Maybe[BlobRef | None] = UNSET
    tags: list[str] | None = None
    extra_tag: list[str] | None = None
    status: Maybe[str | None] = UNSET
    """``paused`` creates the job unqueued."""
    priority: Annotated[int, Meta(ge=-100, le=100)] = 0
    """Higher goes first."""
    run_at: Maybe[datetime | None] = UNSET
    """Not before this time (RFC 3339)."""
    delay_s: Maybe[Seconds | None] = UNSET
    """Not before this many seconds from now."""
    expires_at: Maybe[datetime | None] = UNSET
    """Cancelled when it was not started by this time."""
    max_attempts: Maybe[int | None] = UNSET
    backoff: Backoff = Backoff()
    retry_on: Maybe[list[ErrorKind] | None] = UNSET
    """Error kinds that are worth another attempt; default: all that can succeed."""
    timeout_s: Maybe[float | None] = UNSET
    """The same as ``limits.timeout_s``."""
    limits: Limits = Limits()
    args: list[str] | None = None
    """Instead of the lambda's arguments."""
    env: dict[str, str] | None = None
    """Added to the lambda's environment."""
    key: Maybe[str | None] = UNSET
    """Idempotency key: the same key with the same content is the same job."""
    after: Any = UNSET
    on_failure: Any = UNSET
    group: Any = UNSET
    concurrency_key: Any = UNSET
    rate_key: Any = UNSET
    retain_s: Any = UNSET

    def lambda_id(self) -> Id | None:
        """Return the lambda under whichever name it was sent; None when it was not sent."""
        found: Id | None = first_set(self.lambda_, self.functio)
        return found

    def input_ref(self) -> BlobRef | None:
        """Return the input under whichever name it was sent; None when it was not sent."""
        found: BlobRef | None = first_set(self.input, self.input_id)
        return found

    def all_tags(self) -> list[str]:
        """Return the tags under both names together."""
        return [*(self.tags or []), *(self.extra_tag or [])]

    def refused_options(self) -> list[str]:
        """Return the options among LATER_OPTIONS that were sent."""
        return [name for name in LATER_OPTIONS if first_set(getattr(self, name)) is not None]

    @property
    def speaks_old_names(self) -> bool:
        return self.functio is not UNSET or self.input_id is not UNSET or self.extra_tag is not None


class JobSubmit(JobSpec, kw_only=True):
    """The body of ``POST /job``: one job, or many in ``jobs`` (all or none is created)."""

    jobs: Maybe[list[JobSpec]] = UNSET


class JobCreated(Reply, kw_only=True):
    """The answer of ``POST /job``: ``id`` for one job, ``ids`` in the order of ``jobs`` for many."""

    id: Maybe[Id] = UNSET
    jid: Maybe[Id] = UNSET
    """The same id again, for clients that sent an old name."""
    ids: Maybe[list[Id]] = UNSET


class JobLambda(msgspec.Struct, kw_only=True):
    """The lambda inside a job's info."""

    id: Id
    runtime: str
    codex: Id


class JobInfo(Reply, kw_only=True):
    """One job, for readers of every generation: the fields after ``tags`` repeat it under older names."""

    id: Id
    state: JobState
    input: Content
    output: Maybe[Content] = UNSET
    """Absent until there is one."""
    lambda_: JobLambda = msgspec.field(name="lambda")
    tags: list[str]
    job_status: JobState
    job_input_id: Id
    job_output_id: Id | None
    functio: Id
    runtime: str
    lambda_id: Id
    priority: int
    attempt: int
    """Attempts counted so far."""
    max_attempts: int
    created_at: float
    """Seconds since 1970, like every time below."""
    due_at: Maybe[float] = UNSET
    started_at: Maybe[float] = UNSET
    finished_at: Maybe[float] = UNSET
    expires_at: Maybe[float] = UNSET
    worker: Maybe[Id] = UNSET
    """Who runs it, or ran it last."""
    error: Maybe[JobError] = UNSET
    """Of the last failed attempt."""
    usage: Maybe[Usage] = UNSET
    key: Maybe[str] = UNSET
    advice: Maybe[str] = UNSET
    """Why it does not start, when the server sees a reason: no worker offers its runtime, for example."""


class JobList(Reply, kw_only=True):
    """The answer of ``GET /job?ids=`` (in that order) and of ``GET /job`` (newest first)."""

    jobs: list[JobInfo]
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class JobUpdate(Message, kw_only=True):
    """The body of ``POST /job/{id}``, the v0.5 way to report and to steer."""

    status: Maybe[str | None] = UNSET
    state: Maybe[str | None] = UNSET
    output: Maybe[BlobRef | None] = UNSET
    input: Maybe[BlobRef | None] = UNSET

    def state_name(self) -> str | None:
        """Return the state under whichever name it was sent; None when it was not sent."""
        found: str | None = first_set(self.status, self.state)
        return found


class TraceEvent(msgspec.Struct, kw_only=True):
    """One step in a job's life."""

    at: float
    """Seconds since 1970."""
    state: JobState
    worker: Maybe[Id] = UNSET
    attempt: int = 0
    lease: Maybe[str] = UNSET
    detail: str = ""
    """For people; ``refused: …`` marks an outcome that was not accepted."""


class TraceReply(Reply, kw_only=True):
    """The answer of ``GET /job/{id}/trace``: oldest first."""

    events: list[TraceEvent]


class JobLog(Reply, kw_only=True):
    """The answer of ``GET /job/{id}/log?offset=N&timeout=S``: the log from byte ``offset`` on."""

    text: str
    """Bytes that are not UTF-8 are shown as replacement characters."""
    offset: int
    """Where ``text`` starts; later than asked for when the older part was dropped."""
    next: int
    """Ask from here for what comes later."""
    state: JobState
