"""Webhooks: URLs that are told of the ends of jobs and groups."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.messages.queue.groups import GroupCount
from piecework.protocol.messages.queue.jobs import JobLambda
from piecework.protocol.states import JobState

DeliveryState = Literal["waiting", "sending", "delivered", "failed"]
"""Where a delivery stands."""


class WebhookCreate(Message, kw_only=True):
    """The body of ``POST /webhook``."""

    name: str
    """What jobs and groups call it in ``on_end``: 1 to 100 of ``A-Z a-z 0-9 . _ -``, and no number. No two
    webhooks have the same."""
    url: str
    """Where it is told of ends: a whole URL, of https or of http."""


class WebhookUpdate(Message, kw_only=True):
    """The body of ``PATCH /webhook/{webhook}``."""

    url: str
    """Where it is told of ends from now on, also of those that it was not told of yet."""


class WebhookInfo(Reply, kw_only=True):
    """One webhook."""

    id: Id
    """The webhook."""
    name: str
    """What jobs and groups call it."""
    url: str
    """Where it is told of ends."""
    secret: Maybe[str] = UNSET
    """What messages to it are signed with; only in the answers that make one up. No other shows it."""
    created_by: Maybe[str] = UNSET
    """The name of the token that it was created with."""
    created_at: float
    """Seconds since 1970, like every time below."""
    paused_at: Maybe[float] = UNSET
    """Since when nothing is sent; absent when it is not paused."""
    trouble: Maybe[str] = UNSET
    """Why it was paused, when nobody did it."""
    old_secret_until: Maybe[float] = UNSET
    """Until when the secret before the present one signs as well."""
    waiting: Maybe[int] = UNSET
    """Deliveries that are not done; 10,000 for more. Only for one webhook."""
    failed: Maybe[int] = UNSET
    """Deliveries that were given up; 10,000 for more. Only for one webhook."""


class WebhookList(Reply, kw_only=True):
    """The answer of ``GET /webhook``: newest first."""

    webhooks: list[WebhookInfo]
    """The webhooks."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class DeliveryBrief(Shown, msgspec.Struct, kw_only=True):
    """Something that a webhook is, or was, told."""

    id: Id
    """The delivery: ``webhook-id`` of what is sent, the same in each attempt."""
    type: str
    """What it tells, such as ``job.failed``."""
    subject: Maybe[Id] = UNSET
    """The job or group that ended."""
    state: DeliveryState
    """``waiting`` for its next attempt, ``sending``, ``delivered``, or ``failed``: given up."""
    attempts: int
    """How many there were, the present one too."""
    created_at: float
    """Seconds since 1970, like every time below."""
    next_at: Maybe[float] = UNSET
    """When the next attempt is, while it waits."""
    tried_at: Maybe[float] = UNSET
    """When the last attempt began."""
    took_s: Maybe[float] = UNSET
    """How long that took, in seconds."""
    status: Maybe[int] = UNSET
    """Of the answer to it; absent when there was none."""
    detail: str = ""
    """What came of it, for people."""


class DeliveryList(Reply, kw_only=True):
    """The answer of ``GET /webhook/{webhook}/deliveries``: newest first."""

    deliveries: list[DeliveryBrief]
    """The deliveries."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class DeliveryInfo(Reply, kw_only=True):
    """One delivery, with what is sent."""

    delivery: DeliveryBrief
    """How it stands."""
    webhook: Id
    """The webhook."""
    body: str
    """What is sent: the JSON of a ``WebhookEvent``."""


class DeliveryRetried(Reply, kw_only=True):
    """The answer of ``POST /webhook/{webhook}/retry``."""

    retried: int
    """So many deliveries are sent again."""
    has_more: bool
    """There may be further ones: ask again."""


class WebhookEvent(Shown, msgspec.Struct, kw_only=True):
    """What a webhook is sent, as JSON."""

    type: str
    """``job.finished``, ``job.failed``, ``job.cancelled``, ``group.finished``, ``group.failed`` or
    ``webhook.test``."""
    timestamp: str
    """When it happened, as ISO 8601 in UTC."""
    data: Any
    """A ``JobEnd``, a ``GroupEnd``, or a ``WebhookTest``."""


class JobEnd(Shown, msgspec.Struct, kw_only=True):
    """The end of a job, in ``data`` of a ``WebhookEvent``. What it was given and produced is not in it."""

    job: Id
    """The job."""
    state: JobState
    """The final state that it came into."""
    lambda_: JobLambda = msgspec.field(name="lambda")
    """What it ran."""
    attempt: int
    """Attempts counted until then."""
    created_at: float
    """Seconds since 1970, like every time below."""
    started_at: Maybe[float] = UNSET
    """When its last attempt started."""
    finished_at: float
    """When it ended."""
    error: Maybe[ErrorKind] = UNSET
    """Why it failed, or was cancelled because of another job; the message is with the job."""
    exit_code: Maybe[int] = UNSET
    """The code that its guest ended with, if it came to an end by itself."""
    output: Maybe[Id] = UNSET
    """The blob with what it produced."""
    failed_output: Maybe[Id] = UNSET
    """The blob with what it wrote before it failed."""
    key: Maybe[str] = UNSET
    """Its idempotency key."""
    group: Maybe[Id] = UNSET
    """The group that it belongs to."""
    schedule: Maybe[Id] = UNSET
    """The schedule that submitted it."""
    retry_of: Maybe[Id] = UNSET
    """The job that it ran again with changes."""
    submitter: Maybe[str] = UNSET
    """The name of the token that it was submitted with."""


class GroupEnd(Shown, msgspec.Struct, kw_only=True):
    """The end of a group, in ``data`` of a ``WebhookEvent``: it is sealed, and all its jobs are final."""

    group: Id
    """The group."""
    name: Maybe[str] = UNSET
    """What it is called."""
    state: JobState
    """``Finished`` when all its jobs are, else ``Fail_Execution``."""
    jobs: int
    """How many jobs it has."""
    counts: list[GroupCount]
    """How many of them are in which state; those in which there are none are left out."""


class WebhookTest(Shown, msgspec.Struct, kw_only=True):
    """What ``POST /webhook/{webhook}/test`` has sent, in ``data`` of a ``WebhookEvent``."""

    webhook: str
    """The name of the webhook."""
