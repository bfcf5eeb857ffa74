"""Jobs: submitting them, looking at them, changing them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.messages.content import BlobRef, Content, JobRef
from piecework.protocol.messages.lambdas import Limits, OkCodes
from piecework.protocol.messages.outcomes import ExitCode, JobError, Usage
from piecework.protocol.names import LambdaRef
from piecework.protocol.retention import Retain
from piecework.protocol.states import JobState
from piecework.protocol.text import VariableName

Seconds = Annotated[float, Meta(ge=0, le=10 * 366 * 86_400)]
"""A duration in seconds: not negative, at most ten years."""


class Backoff(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """How long a failed job waits before its next attempt."""

    kind: Literal["exponential", "fixed", "none"] = "exponential"
    """``exponential``: a random share of ``base_s`` times 2^(attempt - 1), at least half of it."""
    base_s: Seconds = 1.0
    """The wait, or the first of the growing ones."""
    cap_s: Seconds = 300.0
    """No wait is longer."""


class FullBackoff(Backoff, kw_only=True, omit_defaults=False, frozen=True):
    """How long a failed job waits before its next attempt, in full."""


class JobSpec(Message, kw_only=True):
    """One job to submit. ``input_id``, ``functio`` and ``extra_tag`` are old names.

    Everything from ``priority`` on is an extension; a left-out option has the lambda's default, then
    the server's.
    """

    lambda_: Maybe[LambdaRef | None] = msgspec.field(default=UNSET, name="lambda")
    """What to run, required: a lambda's id, its name (of several the newest is meant), or ``name@id``."""
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
    ok_codes: Maybe[OkCodes | None] = UNSET
    """Exit codes of its guest with which it has finished, not failed, beside 0; default: the lambda's."""
    args: list[str] | None = None
    """Instead of the lambda's arguments."""
    env: dict[VariableName, str] | None = None
    """Added to the lambda's environment."""
    key: Maybe[str | None] = UNSET
    """Idempotency key: the same key with the same content is the same job."""
    label: Maybe[str | None] = UNSET
    """What the jobs of the same submission call it, as ``@label``. It is not kept."""
    after: Maybe[list[JobRef] | None] = UNSET
    """Jobs and groups that must end before: ids, or ``@0``, ``@1``, … or ``@label`` for jobs of the same
    submission, by position or by label."""
    on_failure: Maybe[Literal["cancel", "run"] | None] = UNSET
    """What becomes of it when one that it waits for fails or is cancelled: ``cancel`` (the default) or ``run``."""
    inputs: Maybe[dict[str, JobRef] | None] = UNSET
    """Outputs of other jobs, for which it waits, by the names of the files that it gets in ``/inputs``."""
    files: Maybe[dict[str, BlobRef] | None] = UNSET
    """Files that are in its own directory, at ``/``, before it starts, by paths there; each is as ``input`` is."""
    outputs: Maybe[list[str] | None] = UNSET
    """Files that it gives back: what fits any of these patterns in its own directory at its end. ``*``, ``?`` and
    ``[…]`` are within a name, ``**`` is any number of folders. Default: the lambda's."""
    group: Maybe[JobRef | None] = UNSET
    """The group that it joins: its id, or a name; of several the newest is meant. A name that is new makes one."""
    retain_s: Maybe[Retain | None] = UNSET
    """Removed so many seconds after its end, with trace, logs and blobs; 0: a minute after its end was read, and
    after a day at the latest; ``never``: not at all. Does not count when a ``key`` is compared."""
    on_end: Maybe[str | None] = UNSET
    """The webhook that is told of its end, however it ends."""
    memo: Maybe[bool | None] = UNSET
    """False: run it, also when the result of an equal job is known. Does not count when a ``key`` is compared."""
    tenant: Maybe[str | None] = UNSET
    """On whose behalf it runs: within a priority, tenants take turns. Default: the name of the token."""
    concurrency_key: Maybe[str | None] = UNSET
    """Of the jobs with the same key, no more than its limit run at once."""
    concurrency_limit: Maybe[int | None] = UNSET
    """That limit, 1 or more, for all jobs of the key; left out: as an earlier job, or an operator, said."""
    rate_key: Maybe[str | None] = UNSET
    """Of the jobs with the same key, no more than its limit start within a period."""
    rate_limit: Maybe[int | None] = UNSET
    """That limit, 1 or more, for all jobs of the key; left out: as an earlier job, or an operator, said."""
    rate_period_s: Maybe[Seconds | None] = UNSET
    """The period of ``rate_limit`` in seconds; default 1."""


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
    HELD = "held"
    """Its lambda, runtime, group or tenant is paused."""
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
    AFTER = "after"
    """Others must end first."""
    LIMIT = "limit"
    """As many jobs of its key as may run at once do, or as many as may start in a period have started."""
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
    name: Maybe[str] = UNSET
    """What it is called, if it has a name; only in lists, and with ``?view=full``."""


class JobSource(Shown, msgspec.Struct, kw_only=True):
    """Another job, or a group, of which a job gets what that produced."""

    name: str
    """The name of the file in ``/inputs``; ``-``: it is the job's input."""
    job: Id
    """Who produces it."""


class JobFile(Shown, msgspec.Struct, kw_only=True):
    """A file that a job was given, or gave back."""

    name: str
    """Its path in the job's own directory."""
    blob: Id
    """What is in it; 0 while it is not there yet, or was not to be had."""
    size: int
    """Bytes."""
    checksum: str
    """SHA-256, hex; empty when there is no such blob."""
    job: Maybe[Id] = UNSET
    """Of which job, or group, it is."""
    file: Maybe[str] = UNSET
    """The name of the file that this job gave back; absent when it is what that produced."""


class JobInfo(Reply, kw_only=True):
    """One job. The fields from ``submitter`` on only with ``?view=full``."""

    id: Id
    """The job."""
    state: JobState
    """Where it stands."""
    input: Content
    """The blob's id; 0 for none."""
    output: Maybe[Content] = UNSET
    """Absent until there is one: a job that failed has none."""
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
    schedule: Maybe[Id] = UNSET
    """The schedule that submitted it."""
    submitter: Maybe[str] = UNSET
    """The name of the token that it was submitted with; absent when the server needed none."""
    input_name: Maybe[str] = UNSET
    """What the file of its input was called, where that is known."""
    input_size: Maybe[int] = UNSET
    """Bytes; absent when it has no input, or that is gone."""
    output_size: Maybe[int] = UNSET
    """Bytes, of ``output`` or ``failed_output``; absent when it has neither, or that is gone."""
    exit_code: Maybe[ExitCode] = UNSET
    """With which the guest of the last attempt ended itself: 0 for one that did well. Absent when a trap or a
    limit ended it, or nothing is known of that."""
    failed_output: Maybe[Id] = UNSET
    """Of a job that failed, the blob with what its last attempt had written to its output by then: all of it when
    the guest ended itself, else 1 MiB at most. Absent when that was nothing."""
    ok_codes: Maybe[list[int]] = UNSET
    """Exit codes with which it has finished, beside 0, its own or its lambda's."""
    args: Maybe[list[str]] = UNSET
    """The command line that it runs with, without the program's name."""
    env: Maybe[dict[str, str]] = UNSET
    """The environment that it runs with; ``***`` for values of variables whose names look secret."""
    limits: Maybe[Limits] = UNSET
    """What an attempt may use, ``timeout_s`` too: its own limits, over its lambda's, over the server's."""
    backoff: Maybe[FullBackoff] = UNSET
    """How long it waits before its next attempt."""
    retry_on: Maybe[list[ErrorKind]] = UNSET
    """Error kinds that are worth another attempt; absent: all that can succeed."""
    failed: Maybe[int] = UNSET
    """How many of its attempts failed; ``max_attempts`` bounds them."""
    lost: Maybe[int] = UNSET
    """How many attempts were lost because of their workers; a setting of the server bounds them."""
    after: Maybe[list[Id]] = UNSET
    """The jobs and groups that it waits, or waited, for."""
    inputs: Maybe[list[JobSource]] = UNSET
    """Those of them whose outputs it gets."""
    files: Maybe[list[JobFile]] = UNSET
    """What was in its own directory before it started; absent when it has none."""
    outputs: Maybe[list[str]] = UNSET
    """Patterns of the files that it gives back."""
    made: Maybe[list[JobFile]] = UNSET
    """Files that it gave back."""
    journal: Maybe[Id] = UNSET
    """Of a recorded lambda's job, the blob with what its guest got from outside in its last attempt; only with
    ``view=full``."""
    verified: Maybe[bool] = UNSET
    """Of a lambda with ``verify``, whether others agreed with its result; false: its worker's owner was believed.
    Only with ``view=full``."""
    receipts: Maybe[bool] = UNSET
    """Whether no result of its lambda counts without a receipt; absent: it does. Only with ``view=full``."""
    recalled: Maybe[Id] = UNSET
    """The equal job with whose result it was answered; nobody ran it."""
    replays: Maybe[Id] = UNSET
    """The job whose run it does again, to compare: its output says what came of that."""
    retry_of: Maybe[Id] = UNSET
    """The job that it runs again with changes."""
    run_again_as: Maybe[list[Id]] = UNSET
    """The jobs that run it again with changes, oldest first; only with ``view=full``."""
    retain_s: Maybe[Retain] = UNSET
    """How long it stays after its end, if it or its lambda said so."""
    removed_at: Maybe[float] = UNSET
    """When it is removed at the latest, once it is final."""
    on_end: Maybe[str] = UNSET
    """The webhook that is told of its end."""
    tenant: Maybe[str] = UNSET
    """With ``view=full``: on whose behalf it runs."""
    concurrency_key: Maybe[str] = UNSET
    """Of the jobs with the same key, a limited number run at once."""
    rate_key: Maybe[str] = UNSET
    """Of the jobs with the same key, a limited number start in a period."""
    group: Maybe[Id] = UNSET
    """The group that it belongs to."""
    advice: Maybe[str] = UNSET
    """Why it waits, when the server sees a reason: no worker offers its runtime, for example."""
    waits_for: Maybe[WaitReason] = UNSET
    """The same as ``advice``, for programs."""
    expected_s: Maybe[float] = UNSET
    """While it runs: how long that usually takes on its worker, seconds; absent when too few jobs of its lambda
    have finished."""
    eta: Maybe[float] = UNSET
    """When it ends if it takes so long: ``started_at`` and ``expected_s``."""
    straggler: Maybe[bool] = UNSET
    """Whether it has run far longer than usual; there with ``expected_s``."""


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
