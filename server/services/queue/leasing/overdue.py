"""What happens to jobs whose time has come, inside the caller's transaction."""

from piecework.protocol.codes import ErrorKind
from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.counting import note_over
from piecework.server.services.queue.lifecycle.endings import Ended, Endings
from piecework.server.services.queue.lifecycle.retries import end_vanished
from piecework.server.services.queue.limits.limiter import place_jobs, release_jobs, wake_limits
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.settings import Settings
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import leases
from piecework.server.store.records import Event, Job
from piecework.server.store.stock import workers


def move_overdue(
    connection: Connection, settings: Settings, endings: Endings, now: int, *, wakes: bool = True
) -> Changes:
    """Rescue jobs whose lease ran out, cancel those that expired unstarted, enqueue those that are due.

    With ``wakes``, those are due, too, that waited until time made room under the limit of their key.
    Moves a bounded number; the caller looks again when ``Changes`` is not empty.
    """
    changes = Changes()
    trail: list[Event] = []
    ended: list[Ended] = []
    rescued: list[Job] = []
    lost: list[Job] = []
    due: list[Job] = []
    for job in leases.find_overdue(connection, now):
        if job.state is JobState.RUNNING:
            event = _rescue(connection, job, settings, changes, now, lost)
            moved = rescued
        elif job.expires_at is not None and job.expires_at <= now:
            event = _expire(connection, job, now)
            moved = []
        else:
            event = _enqueue(connection, job, now)
            moved = due
        if event is None:
            continue  # another request was quicker
        trail.append(event)
        changes.note(job.id, job.lane_id, event.state)
        if event.state.is_final:
            ended.append(Ended(job, event.state, ErrorKind.WORKER.value if event.state is JobState.FAILED else ""))
        else:
            moved.append(job)
    events.add_events(connection, trail)
    note_over(connection, "lost", lost, now)
    endings.pass_on(connection, _with_news(connection, ended), changes, now)
    release_jobs(connection, rescued, changes, now)
    place_jobs(connection, due, changes, now)
    if wakes:
        wake_limits(connection, now, changes)
    return changes


def _with_news(connection: Connection, ended: list[Ended]) -> list[Ended]:
    """Add what was noted on jobs between the look at the clock and their end: others may wait for them now."""
    known = jobs.find_jobs(connection, (each.job.id for each in ended)) if ended else {}
    return [each._replace(job=each.job._replace(awaited=known[each.job.id].awaited)) for each in ended]


def _rescue(
    connection: Connection, job: Job, settings: Settings, changes: Changes, now: int, lost: list[Job]
) -> Event | None:
    end = end_vanished(job, vanished_max=settings.vanished_max, now=now)
    if not leases.end_lease(connection, end):
        return None
    assert job.worker_id is not None
    if workers.note_lapse(connection, job.worker_id, job.incarnation or "", now):
        changes.lapsed.add(job.worker_id)
    detail = end.error.message if end.error else "the lease ran out"
    if end.returned:
        detail = "nobody took it up"
    else:
        lost.append(job)
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
