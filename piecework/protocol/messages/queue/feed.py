"""The feed: what happened to jobs, in order."""

import msgspec
from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Reply, Shown
from piecework.protocol.states import JobState


class FeedEvent(Shown, msgspec.Struct, kw_only=True):
    """A job came into a state."""

    number: int
    """Its place in the feed: the first event of a server has 1, and there are no gaps but by filters."""
    at: float
    """When it happened, in seconds since 1970."""
    job: Id
    """To which job."""
    state: JobState
    """The state that it came into. A new job, and one that is to be tried again, comes into ``Enqueued``."""
    lambda_: Maybe[Id] = msgspec.field(default=UNSET, name="lambda")
    """The lambda that the job runs."""
    lambda_name: Maybe[str] = UNSET
    """The name of that lambda; absent when it has none."""
    group: Maybe[Id] = UNSET
    """The group that the job belongs to."""
    detail: str = ""
    """Why, for people: the first 200 characters."""


class FeedPage(Reply, kw_only=True):
    """The answer of ``GET /events`` where no stream is asked for: oldest first."""

    events: list[FeedEvent]
    """What happened, as far as it passes the filters."""
    next: int
    """Read on with ``after`` of this number: all up to it was looked at."""
    oldest: int
    """The smallest number that is kept."""
    newest: int
    """The largest number that was given."""
