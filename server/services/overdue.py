"""What happens to jobs whose time has come, inside the caller's transaction."""

from piecework.protocol.states import JobState
from server.services.retries import end_vanished
from server.services.waiting import Changes
from server.settings import Settings
from server.store import events, jobs, leases
from server.store.database import Connection
from server.store.records import Event, Job


def move_overdue(connection: Connection, settings: Settings, now: int) -> Changes:
    """Rescue jobs whose lease ran out, cancel those that expired unstarted, enqueue those that are due.

    Moves a bounded number; the caller looks again when ``Changes`` is not empty.
    """
    changes = Changes()
    trail = []
    for job in leases.find_overdue(connection, now):
        if job.state is JobState.RUNNING:
            event = _rescue(connection, job, settings, now)
        elif job.expires_at is not None and job.expires_at <= now:
            event = _expire(connection, job, now)
        else:
            event = _enqueue(connection, job, now)
        if event is None:
            continue  # another request was quicker
        trail.append(event)
        changes.note(job.id, job.lane_id, event.state)
    events.add_events(connection, trail)
    return changes


def _rescue(connection: Connection, job: Job, settings: Settings, now: int) -> Event | None:
    end = end_vanished(job, vanished_max=settings.vanished_max, now=now)
    if not leases.end_lease(connection, end):
        return None
    detail = end.error.message if end.error else "the lease ran out"
    return Event(job.id, now, end.state, job.worker_id, job.attempt, job.lease, detail, since=job.started_at)


def _expire(connection: Connection, job: Job, now: int) -> Event | None:
    if not jobs.cancel_unstarted(connection, job.id, now):
        return None
    return Event(job.id, now, JobState.CANCELLED, detail="not started before it expired")


def _enqueue(connection: Connection, job: Job, now: int) -> Event | None:
    if not jobs.move_job(connection, job.id, JobState.WAITING, JobState.ENQUEUED, None):
        return None
    return Event(job.id, now, JobState.ENQUEUED, attempt=job.attempt, detail="due")
