"""Work on many jobs at once: which are meant, what is done to them, how far it came."""

from typing import Literal

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.messages.content import BlobRef
from piecework.protocol.messages.lambdas import Limits, OkCodes
from piecework.protocol.names import LambdaRef
from piecework.protocol.text import VariableName

BulkAction = Literal["cancel", "pause", "resume", "retry", "delete"]
"""What is done to each job."""


class JobSelection(Shown, msgspec.Struct, kw_only=True, omit_defaults=True):
    """Which jobs are meant: those that fit in everything that is given. ``GET /job`` has the same parameters."""

    state: str | None = None
    """In this state, or in one of several with commas between them."""
    lambda_: LambdaRef | None = msgspec.field(default=None, name="lambda")
    """Of this lambda, by its id or as ``name@id``, or of all lambdas of a name."""
    group: str | None = None
    """Of this group, by its id or name."""
    tag: str | None = None
    """With this tag, spelled as it was submitted."""
    tenant: str | None = None
    """Of this tenant."""
    worker: Id | None = None
    """That this worker runs, or ran last."""
    schedule: str | None = None
    """That this schedule submitted, by its id or name."""
    submitter: str | None = None
    """That were submitted with the token of this name."""
    key: str | None = None
    """With this idempotency key."""
    text: str | None = None
    """In whose own arguments, key or error this text stands, its letters of ASCII in any case."""
    kind: str | None = None
    """Whose last failed attempt failed so: a kind of failure, or several with commas between them."""
    since: str | None = None
    """That ended then or later: a time (RFC 3339), or how long ago, such as ``1h30m``. Of jobs that have not
    ended, it is the time of their submission that counts."""
    before: str | None = None
    """That ended, or were submitted, then or earlier."""


class JobEdit(Shown, msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is other in the job that is made of one. What is left out stays as it is."""

    lambda_: LambdaRef | None = msgspec.field(default=None, name="lambda")
    """What to run: a lambda's id, its name, or ``name@id``."""
    input: Maybe[BlobRef | None] = UNSET
    """A blob's id, or an object with the bytes; 0 for none."""
    args: list[str] | None = None
    """Instead of its arguments."""
    env: dict[VariableName, str] | None = None
    """Added to its environment."""
    timeout_s: float | None = None
    """The same as ``limits.timeout_s``."""
    limits: Limits = Limits()
    """Over its own."""
    ok_codes: OkCodes | None = None
    """Exit codes that mean success, beside 0, instead of its own."""


class JobBulk(Message, kw_only=True):
    """The body of ``POST /job/bulk``. It may be repeated when its answer was lost."""

    action: BulkAction | Literal["undo"]
    """What to do. ``retry`` runs failed and cancelled jobs again, ``delete`` removes jobs that have ended.
    ``undo`` takes back what was done under a ``key``, for the jobs that it changed or made and that nobody
    changed since: what was cancelled is run again, what was run again is cancelled, what was paused is resumed
    and the other way round. What was deleted is gone."""
    ids: Maybe[list[Id] | None] = UNSET
    """These jobs, or else those of ``where``."""
    where: Maybe[JobSelection | None] = UNSET
    """The jobs that fit, of those that can have it done. ``retry`` means failed jobs unless a state is given, and
    none of which a new job was made before."""
    edit: Maybe[JobEdit | None] = UNSET
    """With ``retry``: make a new job of each, with these changes."""
    dry_run: bool = False
    """Only count."""
    key: Maybe[str | None] = UNSET
    """For a day it is known what was done under this key, for ``undo``. With ``where`` all requests of one work
    have the same; with ``ids`` each has its own: a repetition does nothing further and is answered alike."""
    cursor: Maybe[str | None] = UNSET
    """``next`` of the answer before; or ``begin`` of a count, for exactly the jobs that it counts."""


class BulkRefusal(Shown, msgspec.Struct, kw_only=True):
    """Jobs to which it could not be done, for one reason."""

    message: str
    """The reason, for people."""
    jobs: list[Id]
    """The jobs; the first hundred where there are more."""
    count: int
    """How many there are."""


class JobRetry(Shown, msgspec.Struct, kw_only=True):
    """A job, and the one that was made of it."""

    job: Id
    """The job."""
    made: Id
    """The new job."""


class JobBulkReply(Reply, kw_only=True):
    """The answer of ``POST /job/bulk``: what this request came to. All counts are its own: add them up."""

    matched: int
    """Jobs that were meant."""
    changed: int = 0
    """Those of them to which it was done."""
    refused: list[BulkRefusal] = []
    """Those to which it could not be done."""
    made: Maybe[list[JobRetry]] = UNSET
    """With ``ids`` and ``edit``: the new jobs."""
    next: Maybe[str] = UNSET
    """There is more: send this as ``cursor``, and all else again."""
    begin: Maybe[str] = UNSET
    """With ``where`` and ``dry_run``: the ``cursor`` with which the work on these jobs begins."""
    undoes: Maybe[BulkAction] = UNSET
    """With ``undo``: what is taken back; absent when there is nothing: it changed no job, was taken back already,
    or is older than a day."""


class FailureCount(Shown, msgspec.Struct, kw_only=True):
    """Failed jobs of one lambda that failed alike."""

    lambda_: Id = msgspec.field(name="lambda")
    """The lambda."""
    lambda_name: Maybe[str] = UNSET
    """What it is called."""
    kind: str
    """What sort of failure; empty when the worker gave no reason."""
    message: str
    """The first line of what was said, for people."""
    count: int
    """How many jobs."""
    first_at: float
    """When the first of them failed, seconds since 1970."""
    last_at: float
    """When the last of them failed."""
    job: Id
    """One of them: the newest."""


class FailureList(Reply, kw_only=True):
    """The answer of ``GET /job/failures``: the most frequent first."""

    failures: list[FailureCount]
    """Failed jobs that were not run again, by lambda and reason."""
    total: int
    """How many such jobs there are, also those of reasons that are not listed."""
