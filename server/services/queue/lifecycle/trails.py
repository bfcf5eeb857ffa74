"""The trail of a job, from what is stored of it.

A row for each step would cost every job. So a submission is told from the job itself, and a lease is stored once,
when it ends, with the time at which it began.
"""

from collections.abc import Iterable, Sequence

from piecework.protocol.states import JobState
from piecework.server.store.records import Event, Job

SUBMITTED = "submitted"
"""The detail of the first event, which is stored only when it is not the usual one."""


def first_events(job_ids: Iterable[int], state: JobState, now: int) -> list[Event]:
    """Return what must be stored of the submission of jobs in a state."""
    if state is JobState.ENQUEUED:
        return []
    return [Event(id_, now, state, detail=SUBMITTED, is_change=False) for id_ in job_ids]


def tell_trail(job: Job, stored: Sequence[Event]) -> list[Event]:
    """Return all steps of a job's life, oldest first."""
    trail: list[Event] = []
    if not stored or stored[0].detail != SUBMITTED:
        trail.append(Event(job.id, job.created_at, JobState.ENQUEUED, detail=SUBMITTED))
    for event in stored:
        if event.since is not None:
            _insert_start(trail, event._replace(at=event.since))
        trail.append(event)
    if job.state is JobState.RUNNING:
        at = job.created_at if job.started_at is None else job.started_at
        _insert_start(trail, Event(job.id, at, job.state, job.worker_id, job.attempt, job.lease))
    return trail


def _insert_start(trail: list[Event], lease: Event) -> None:
    """Put the beginning of a lease where it belongs: before the outcomes that were refused while it was held."""
    place = len(trail)
    while trail[place - 1].state is JobState.RUNNING:
        place -= 1
    trail.insert(place, lease._replace(state=JobState.RUNNING, detail="", since=None))
