"""Jobs: submitting them, looking at them, changing them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown, given
from piecework.protocol.messages.content import BlobRef, Content
from piecework.protocol.messages.lambdas import Limits
from piecework.protocol.messages.outcomes import JobError, Usage
from piecework.protocol.states import JobState
from piecework.protocol.text import VariableName

Seconds = Annotated[float, Meta(ge=0, le=10 * 366 * 86_400)]
"""A duration in seconds: not negative, at most ten years."""

LATER_OPTIONS = ("after", "on_failure", "group", "concurrency_key", "rate_key", "retain_s")
"""Options that the protocol names and this server refuses: ignoring them would break what they ask for."""


class Backoff(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """How long a failed job waits before its next attempt."""

    kind: Literal["exponential", "fixed", "none"] = "exponential"
    """``exponential``: a random share of ``base_s`` times 2^(attempt - 1), at least half of it."""
    base_s: Seconds = 1.0
    """The wait, or the first of the growing ones."""
    cap_s: Seconds = 300.0
    """No wait is longer."""


class JobSpec(Message, kw_only=True):
    """One job to submit. ``input_id``, ``functio`` and ``extra_tag`` are old names.

    Everything from ``priority`` on is an extension; a left-out option has the lambda's default, then
    the server's.
    """

    lambda_: Maybe[Id | None] = msgspec.field(default=UNSET, name="lambda")
    """What to run. Required."""
    input: Maybe[BlobRef | None] = UNSET
    """A blob's id, or an object with the bytes: ``text``, ``base64``, ``json`` or ``bytes``."""
    tags: list[str] | None = None
    """Added to the lambda's: ``name`` suggests, ``+name`` requires, ``-name`` rejects a worker."""
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
    """1 to 100. Attempts that the worker is to blame for do not count."""
    backoff: Backoff = Backoff()
    """How long to wait before the next attempt."""
    retry_on: Maybe[list[ErrorKind] | None] = UNSET
    """Error kinds that are worth another attempt; default: all that can succeed."""
    timeout_s: Maybe[float | None] = UNSET
    """The same as ``limits.timeout_s``."""
    limits: Limits = Limits()
    """Over the lambda's."""
    args: list[str] | None = None
    """Instead of the lambda's arguments."""
    env: dict[VariableName, str] | None = None
    """Added to the lambda's environment."""
    key: Maybe[str | None] = UNSET
    """Idempotency key: the same key with the same content is the same job."""
    after: Any = UNSET
    """Refused: jobs cannot wait for others yet."""
    on_failure: Any = UNSET
    """Refused, as ``after`` is."""
    group: Any = UNSET
    """Refused: there are no groups yet."""
    concurrency_key: Any = UNSET
    """Refused: there are no limits on how many jobs run at once yet."""
    rate_key: Any = UNSET
    """Refused: there are no limits on how many jobs start in a time yet."""
    retain_s: Any = UNSET
    """Refused: results do not expire yet."""

    def refused_options(self) -> list[str]:
        """Return the options among LATER_OPTIONS that were sent."""
        return [name for name in LATER_OPTIONS if given(getattr(self, name)) is not None]


class JobSubmit(JobSpec, kw_only=True):
    """The body of ``POST /job``: one job, or many in ``jobs`` (all or none is created).

    Beside ``jobs``, only ``key`` counts: it is the key of the submission as a whole, known for a day. The same
    key with the same jobs answers the same ids.
    """

    jobs: Maybe[list[JobSpec]] = UNSET
    """Many jobs instead of one; of the fields beside it only ``key`` counts then."""


class WaitReason(StrEnum):
    """Why a job does not run now."""

    PAUSED = "paused"
    """Someone must resume it."""
    DUE = "due"
    """It was submitted for a later time."""
    RETRY = "retry"
    """The pause after a failed attempt is not over."""
    NO_WORKER = "no_worker"
    """No worker that was heard of lately offers its runtime and goes with its tags."""
    UNABLE = "unable"
    """Every worker that could run it takes no jobs for a fault of its node."""
    DRAINING = "draining"
    """Every worker that could run it takes no more jobs."""
    BUSY = "busy"
    """Every worker that may run it has a job in each slot."""
    QUEUED = "queued"
    """Other jobs come first."""

    @property
    def is_hopeless(self) -> bool:
        """Waiting alone does not help."""
        return self in {WaitReason.NO_WORKER, WaitReason.UNABLE}


class JobLambda(Shown, msgspec.Struct, kw_only=True):
    """The lambda inside a job's info."""

    id: Id
    """The lambda."""
    runtime: str
    """What a worker must offer."""
    codex: Id
    """The blob with the code; 0 for none."""


class JobInfo(Reply, kw_only=True):
    """One job."""

    id: Id
    """The job."""
    state: JobState
    """Where it stands."""
    input: Content
    """The blob's id; 0 for none."""
    output: Maybe[Content] = UNSET
    """Absent until there is one."""
    lambda_: JobLambda = msgspec.field(name="lambda")
    """What it runs."""
    tags: list[str]
    """The lambda's and its own."""
    priority: int
    """Higher goes first."""
    attempt: int
    """Attempts counted so far."""
    max_attempts: int
    """Attempts that it may have."""
    created_at: float
    """Seconds since 1970, like every time below."""
    due_at: Maybe[float] = UNSET
    """When it may start, while it waits for that."""
    started_at: Maybe[float] = UNSET
    """When its last attempt started."""
    finished_at: Maybe[float] = UNSET
    """When it came into a final state."""
    expires_at: Maybe[float] = UNSET
    """When it is cancelled, unless it was started before."""
    worker: Maybe[Id] = UNSET
    """Who runs it, or ran it last."""
    error: Maybe[JobError] = UNSET
    """Of the last failed attempt."""
    usage: Maybe[Usage] = UNSET
    """Of the last attempt that a worker reported."""
    key: Maybe[str] = UNSET
    """Its idempotency key."""
    advice: Maybe[str] = UNSET
    """Why it waits, when the server sees a reason: no worker offers its runtime, for example."""
    waits_for: Maybe[WaitReason] = UNSET
    """The same as ``advice``, for programs."""


class JobCreated(Reply, kw_only=True):
    """The answer of ``POST /job``: ``id`` for one job, ``ids`` in the order of ``jobs`` for many."""

    id: Maybe[Id] = UNSET
    """The one job."""
    ids: Maybe[list[Id]] = UNSET
    """The many jobs."""
    job: Maybe[JobInfo] = UNSET
    """The one job as it ended, or as it stood when the time was over; only with ``?wait=``."""


class JobList(Reply, kw_only=True):
    """The answer of ``GET /job?ids=`` (in that order) and of ``GET /job`` (newest first)."""

    jobs: list[JobInfo]
    """The jobs."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
    total: Maybe[int] = UNSET
    """How many fit, with ``total=true``; 100,000 for more."""


class JobUpdate(Message, kw_only=True):
    """The body of ``POST /job/{id}``: to steer a job, and to report on one without knowing its lease."""

    status: Maybe[str | None] = UNSET
    """The state to set, in any case: finished, failed, cancelled, running, paused, enqueued."""
    output: Maybe[BlobRef | None] = UNSET
    """The output's blob, with finished; 0 for none."""
    input: Maybe[BlobRef | None] = UNSET
    """Another input, for a job that has not started."""


class TraceEvent(Shown, msgspec.Struct, kw_only=True):
    """One step in a job's life."""

    at: float
    """Seconds since 1970."""
    state: JobState
    """The state that the job is in from then on."""
    worker: Maybe[Id] = UNSET
    """Who did it."""
    attempt: int = 0
    """Which attempt it belongs to."""
    lease: Maybe[str] = UNSET
    """Under which lease it happened."""
    detail: str = ""
    """For people; ``refused: …`` marks an outcome that was not accepted."""


class TraceReply(Reply, kw_only=True):
    """The answer of ``GET /job/{id}/trace``: oldest first."""

    events: list[TraceEvent]
    """The steps."""


class JobLog(Reply, kw_only=True):
    """The answer of ``GET /job/{id}/log?offset=N&attempt=A&timeout=S``: the log from byte ``offset`` on."""

    text: str
    """Bytes that are not UTF-8 are shown as replacement characters."""
    offset: int
    """Where ``text`` starts; later than asked for when the older part was dropped."""
    next: int
    """Ask from here for what comes later."""
    attempt: int
    """Whose log this is: the latest attempt that logged anything. Another attempt's log starts at 0 again."""
    state: JobState
    """The job's state: when it is final and ``text`` is empty, there is no more to come."""
