"""Where a job goes that somebody, or something, lets into the queue. A pure decision."""

from typing import NamedTuple

from piecework.protocol.states import JobState
from piecework.server.store.records import Job, NewJob, WaitsFor


class Place(NamedTuple):
    """A state, and what a job waits for in it."""

    state: JobState
    due_at: int | None = None
    waits: WaitsFor | None = None


def place(job: Job | NewJob, now: int) -> Place:
    """Return where a job belongs that is not kept back: where others wait for others, for a time, or for nothing.

    It may wait for others and for a time; then the time comes second.
    """
    due_at = job.due_at if job.due_at is not None and job.due_at > now else None
    if job.pending:
        return Place(JobState.WAITING, due_at, "after")
    return Place(JobState.ENQUEUED if due_at is None else JobState.WAITING, due_at)
