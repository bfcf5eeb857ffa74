"""What happens to jobs whose time has come, inside the caller's transaction."""

from piecework.protocol.states import JobState
from server.services.queue.retries import end_vanished
from server.services.queue.waiting import Changes
from server.settings import Settings
from server.store.engine.database import Connection
from server.store.queue import events, jobs, leases
from server.store.records import Event, Job
from server.store.stock import workers


def move_overdue(connection: Connection, settings: Settings, now: int) -> Changes:
    """Rescue jobs whose lease ran out, cancel those that expired unstarted, enqueue those that are due.

    Moves a bounded number; the caller looks again when ``Changes`` is not empty.
    """
    changes = Changes()
    trail = []
    for job in leases.find_overdue(connection, now):
        if job.state is JobState.RUNNING:
            event = _rescue(connection, job, settings, changes, now)
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


def _rescue(connection: Connection, job: Job, settings: Settings, changes: Changes, now: int) -> Event | None:
    end = end_vanished(job, vanished_max=settings.vanished_max, now=now)
    if not leases.end_lease(connection, end):
        return None
    assert job.worker_id is not None
    if workers.note_lapse(connection, job.worker_id, job.incarnation or "", now):
        changes.lapsed.add(job.worker_id)
    detail = end.error.message if end.error else "the lease ran out"
    if end.returned:
        detail = "nobody took it up"
    return Event(job.id, now, end.state, job.worker_id, job.attempt, job.lease, detail, since=job.started_at)


def _expire(connection: Connection, job: Job, now: int) -> Event | None:
    if not jobs.cancel_unstarted(connection, job.id, now):
        return None
    return Event(job.id, now, JobState.CANCELLED, attempt=job.attempt, detail=_describe_expiry(job))


def _describe_expiry(job: Job) -> str:
    if not job.attempt:
        return "not started before it expired"
    why = f"failed: {job.error.message}" if job.error else "was lost with its worker"
    return f"expired before attempt {job.attempt + 1}; attempt {job.attempt} {why}"


def _enqueue(connection: Connection, job: Job, now: int) -> Event | None:
    if not jobs.move_job(connection, job.id, JobState.WAITING, JobState.ENQUEUED, None):
        return None
    return Event(job.id, now, JobState.ENQUEUED, attempt=job.attempt, detail="due")
