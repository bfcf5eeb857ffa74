"""Workers: registering them and looking at them."""

from enum import StrEnum

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, first_set


class WorkerState(StrEnum):
    """How a worker stands, as the server sees it."""

    BUSY = "busy"
    """Seen lately, with jobs."""
    IDLE = "idle"
    """Seen lately, without jobs."""
    DRAINING = "draining"
    """Told to take no more jobs."""
    GONE = "gone"
    """Not seen for longer than a poll takes."""
    RETIRED = "retired"
    """Removed; it must register again."""


class WorkerRegister(Message, kw_only=True):
    """The body of ``POST /worker``. ``runtimes`` and ``execulator`` are old names of ``runtime``."""

    runtime: Maybe[list[str] | None] = UNSET
    runtimes: Maybe[list[str] | None] = UNSET
    execulator: Maybe[list[str] | None] = UNSET
    name: Maybe[str] = UNSET
    tags: list[str] | None = None
    slots: Maybe[int] = UNSET
    """Jobs that it runs at once."""
    incarnation: Maybe[str] = UNSET
    """A random name of this start of the process."""
    agent_version: Maybe[str] = UNSET
    hostname: Maybe[str] = UNSET

    def runtime_names(self) -> list[str]:
        """Return the runtimes under whichever name they were sent; ``["default"]`` when there are none."""
        return first_set(self.runtime, self.runtimes, self.execulator) or ["default"]

    @property
    def speaks_old_names(self) -> bool:
        return self.runtimes is not UNSET or self.execulator is not UNSET


class WorkerRegistered(Reply, kw_only=True):
    """The answer of ``POST /worker``."""

    id: Id
    runtime: list[str]
    wid: Maybe[Id] = UNSET
    """The same id again, for clients that sent an old name."""


class WorkerInfo(Reply, kw_only=True):
    """The answer of ``GET /worker/{id}``. The fields from ``name`` on only with ``?view=full``."""

    id: Id
    runtime: list[str]
    name: Maybe[str] = UNSET
    hostname: Maybe[str] = UNSET
    agent_version: Maybe[str] = UNSET
    tags: Maybe[list[str]] = UNSET
    slots: Maybe[int] = UNSET
    state: Maybe[WorkerState] = UNSET
    running: Maybe[int] = UNSET
    """Jobs that it holds now."""
    registered_at: Maybe[float] = UNSET
    seen_at: Maybe[float] = UNSET


class WorkerList(Reply, kw_only=True):
    """The answer of ``GET /worker``."""

    workers: list[WorkerInfo]
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
