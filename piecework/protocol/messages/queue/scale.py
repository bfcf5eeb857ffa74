"""How many slots the queue could use, for autoscalers of agents."""

from msgspec import UNSET

from piecework.protocol.messages.base import Maybe, Reply


class ScaleReply(Reply, kw_only=True):
    """The answer of ``GET /scale``."""

    at: float
    """When this was found, seconds since 1970."""
    enqueued: int
    """Jobs that can be contracted now, without those of a runtime or tenant that is paused."""
    counted_at: Maybe[float] = UNSET
    """When ``enqueued`` was counted, seconds since 1970; absent: just now. One of 50,000 jobs and more is counted
    now and then, and of a lambda one of 5,000 and more in the whole queue: once a minute at least."""
    oldest_s: float
    """How long ago the oldest of them was submitted, seconds; 0 when there is none."""
    running: int
    """Jobs under a lease, also those that wait at their agents."""
    slots: int
    """Slots of workers that were heard of within a minute, take jobs, and may run these."""
    free: int
    """Slots of these that no lease is for."""
    wanted: int
    """Slots that could be of use: one for each job that is enqueued or running, or with ``within_s`` as many as do
    them all in that time."""
    run_s: Maybe[float] = UNSET
    """How long such jobs ran on average in this hour and the last, seconds; absent without ``within_s``, and when
    none ended: then ``wanted`` is one slot for each job."""
