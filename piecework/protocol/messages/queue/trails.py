"""What happened to a job, and what its guests logged."""

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Reply, Shown
from piecework.protocol.states import JobState


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


class AttemptLog(Shown, msgspec.Struct, kw_only=True):
    """What is kept of what one attempt logged."""

    attempt: int
    """Which it is; the first is 1."""
    text: str
    """Bytes that are not UTF-8 are shown as replacement characters."""
    offset: int
    """How many bytes came before ``text`` and were dropped."""


class JobLogs(Reply, kw_only=True):
    """The answer of ``GET /job/{id}/logs``: the logs of all attempts."""

    logs: list[AttemptLog]
    """Oldest first. Attempts that logged nothing are not among them; of more than ten, the newest are kept."""
    attempts: int
    """How many attempts the job has made so far."""
    state: JobState
    """The job's state: when it is final, there is no more to come."""


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
