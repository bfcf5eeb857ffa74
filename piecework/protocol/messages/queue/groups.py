"""Groups of jobs."""

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown
from piecework.protocol.states import JobState


class GroupCreate(Message, kw_only=True):
    """The body of ``POST /group``."""

    name: Maybe[str | None] = UNSET
    """What it can be called by wherever its id is asked for: 1 to 100 of ``A-Z a-z 0-9 . _ -``, and no number."""
    on_end: Maybe[str | None] = UNSET
    """The webhook that is told once it is done."""


class GroupSeal(Message, kw_only=True):
    """The body of ``POST /group/{group}/seal``, which may be left out."""

    on_end: Maybe[str | None] = UNSET
    """The webhook that is told once it is done, in place of one that was named before."""


class GroupBrief(Shown, msgspec.Struct, kw_only=True):
    """A group in a list."""

    id: Id
    """The group."""
    name: Maybe[str] = UNSET
    """What it is called."""
    submitter: Maybe[str] = UNSET
    """The name of the token that it was made with."""
    created_at: float
    """Seconds since 1970, like every time below."""
    sealed_at: Maybe[float] = UNSET
    """When it was closed to further jobs; absent while it is open."""
    done_at: Maybe[float] = UNSET
    """When all its jobs were final, once it was sealed; absent before, and while one of them is run again."""
    state: Maybe[JobState] = UNSET
    """Once it is done: ``Finished`` when all its jobs are, else ``Fail_Execution``."""
    on_end: Maybe[str] = UNSET
    """The webhook that is told once it is done."""


class GroupCount(Shown, msgspec.Struct, kw_only=True):
    """How many jobs of a group are in one state."""

    state: JobState
    """The state."""
    jobs: int
    """How many."""


class GroupInfo(Reply, kw_only=True):
    """One group, and how its jobs stand."""

    group: GroupBrief
    """The group."""
    jobs: int
    """How many jobs it has."""
    left: int
    """How many of them are not final."""
    progress: float
    """The part of its jobs that are final, from 0 to 1; 1 when it has none."""
    counts: list[GroupCount]
    """How many jobs are in which state; those in which there are none are left out."""
    failures: list[Id]
    """The first few of its jobs that failed."""
    dependants: list[Id]
    """Jobs that wait, or waited, for the group."""


class GroupList(Reply, kw_only=True):
    """The answer of ``GET /group``: newest first."""

    groups: list[GroupBrief]
    """The groups."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
