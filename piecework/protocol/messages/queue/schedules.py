"""Schedules: jobs that recur by a cron line or in an interval."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.messages.queue.jobs import JobSpec, Seconds
from piecework.protocol.states import JobState

CatchUp = Literal["skip", "one", "all"]
"""What happens to ticks that no server was there for."""
Overlap = Literal["allow", "skip", "replace"]
"""What happens to a tick while a job of an earlier one has not ended."""
TickOutcome = Literal["submitted", "skipped", "failed", "missed"]
"""What came of a tick."""


class ScheduleCreate(Message, kw_only=True):
    """The body of ``POST /schedule``. It has ``cron`` or ``every_s``."""

    name: str
    """What it can be called by wherever its id is asked for: 1 to 100 of ``A-Z a-z 0-9 . _ -``, and no number. No
    two schedules have the same."""
    cron: Maybe[str | None] = UNSET
    """When it ticks: minute, hour, day of the month, month, day of the week; or ``@hourly``, ``@daily``,
    ``@weekly``, ``@monthly``, ``@yearly``."""
    every_s: Maybe[Seconds | None] = UNSET
    """In place of ``cron``: it ticks so often, 1 s at least, counted from when it was created."""
    timezone: Maybe[str | None] = UNSET
    """That the cron line is read in, such as ``Europe/Berlin``; ``UTC`` when left out."""
    catch_up: CatchUp = "one"
    """Of the ticks that no server was there for, ``skip``: none gets a job, but for the last when it is at most a
    minute late; ``one``: the last does; ``all``: each does, when overlaps are allowed."""
    overlap: Overlap = "allow"
    """While a job of an earlier tick has not ended, ``allow``: another is submitted; ``skip``: none is;
    ``replace``: the earlier is cancelled, and another submitted."""
    jitter_s: Seconds = 0.0
    """Jobs become due by chance within that time after their ticks, an hour at most."""
    expires_s: Maybe[Seconds | None] = UNSET
    """Jobs that were not started within that time after their ticks are cancelled."""
    paused: bool = False
    """Whether it waits for ``POST /schedule/{id}/resume``."""
    job: JobSpec
    """What it submits at each tick, without ``key``, ``run_at``, ``expires_at`` and ``after``, which can be true
    of one job alone. A lambda that is named without an id is at each tick the newest of this name."""


class ScheduleUpdate(Message, kw_only=True):
    """The body of ``PATCH /schedule/{id}``. What is left out stays; what is null is as if never given."""

    cron: Maybe[str | None] = UNSET
    """Another cron line; it may take the place of an interval."""
    every_s: Maybe[Seconds | None] = UNSET
    """Another interval, counted from now; it may take the place of a cron line."""
    timezone: Maybe[str | None] = UNSET
    """Another time zone."""
    catch_up: Maybe[CatchUp] = UNSET
    """As in ``ScheduleCreate``."""
    overlap: Maybe[Overlap] = UNSET
    """As in ``ScheduleCreate``."""
    jitter_s: Maybe[Seconds] = UNSET
    """As in ``ScheduleCreate``."""
    expires_s: Maybe[Seconds | None] = UNSET
    """As in ``ScheduleCreate``."""
    job: Maybe[dict[str, Any]] = UNSET
    """Those fields of the job that change; the others stay. Of ``env``, ``limits`` and ``backoff`` it may name a
    few; null takes a field away."""


class ScheduleRun(Message, kw_only=True):
    """The body of ``POST /schedule/{id}/run``, which may be left out."""

    key: Maybe[str | None] = UNSET
    """Idempotency key of the job: running it again with this key gives the same job."""


class ScheduleInfo(Reply, kw_only=True):
    """One schedule."""

    id: Id
    """The schedule."""
    name: str
    """What else it can be called by."""
    cron: Maybe[str] = UNSET
    """When it ticks."""
    every_s: Maybe[float] = UNSET
    """How often it ticks, when it has no cron line."""
    timezone: str
    """That the cron line is read in."""
    catch_up: CatchUp
    """What happens to ticks that no server was there for."""
    overlap: Overlap
    """What happens to a tick while a job of an earlier one has not ended."""
    jitter_s: Maybe[float] = UNSET
    """Jobs become due by chance within that time after their ticks."""
    expires_s: Maybe[float] = UNSET
    """Jobs that were not started within that time after their ticks are cancelled."""
    lambda_: str = msgspec.field(name="lambda")
    """What its jobs run, as it was named: an id, a name, or ``name@id``."""
    created_at: float
    """Seconds since 1970, like every time below."""
    changed_at: float
    """When a person last changed it."""
    paused_at: Maybe[float] = UNSET
    """Since when it is paused; absent when it is not."""
    next_at: Maybe[float] = UNSET
    """When it ticks next; absent when it does not any more."""
    last_at: Maybe[float] = UNSET
    """When it last submitted a job."""
    last_job: Maybe[Id] = UNSET
    """That job."""
    last_state: Maybe[JobState] = UNSET
    """Where that job stands; absent once the job is gone."""
    error: Maybe[str] = UNSET
    """Why no job could be submitted at its last tick. It tries again at the next."""
    submitter: Maybe[str] = UNSET
    """The name of the token that it was created with."""
    upcoming: Maybe[list[float]] = UNSET
    """When it ticks next, and then, and so on; only for one schedule."""
    job: Maybe[JobSpec] = UNSET
    """What it submits, with ``***`` for variables that look secret; only for one schedule."""


class ScheduleList(Reply, kw_only=True):
    """The answer of ``GET /schedule``: newest first."""

    schedules: list[ScheduleInfo]
    """The schedules."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class ScheduleTick(Shown, msgspec.Struct, kw_only=True):
    """A time at which a schedule was due, or was run by hand, and what came of it."""

    at: float
    """When that was, in seconds since 1970; with ``missed`` the first of several."""
    outcome: TickOutcome
    """``submitted``: it has a job; ``skipped``: an earlier job had not ended; ``failed``: ``detail`` says why;
    ``missed``: no server was there."""
    by_hand: bool = False
    """Somebody ran it."""
    noted_at: float
    """When a server found that it was due."""
    job: Maybe[Id] = UNSET
    """What was submitted."""
    state: Maybe[JobState] = UNSET
    """Where that job stands; absent once the job is gone."""
    detail: str = ""
    """For people."""


class TickList(Reply, kw_only=True):
    """The answer of ``GET /schedule/{id}/ticks``: newest first. Ticks are known for 30 days."""

    ticks: list[ScheduleTick]
    """The ticks."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
