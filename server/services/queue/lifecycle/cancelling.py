"""Cancelling jobs, inside the caller's transaction."""

from collections.abc import Iterable, Sequence

from piecework.protocol.states import JobState
from piecework.server.services.queue.lifecycle.endings import Ended, Endings
from piecework.server.services.queue.waiting.waiting import Changes
from piecework.server.store.engine.database import Connection
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.records import Event, Job
from piecework.server.store.stock.audit import count_act


def cancel_jobs(
    connection: Connection, endings: Endings, ids: Iterable[int], now: int, detail: str = "cancelled"
) -> Changes:
    """Cancel those of the jobs that exist and are not final. Who runs one learns it with the next heartbeat."""
    changes = Changes()
    live = [job for job in jobs.lock_jobs(connection, ids).values() if not job.state.is_final]
    cancel_locked(connection, endings, live, changes, now, detail)
    count_act(connection, len(live))
    return changes


def cancel_locked(
    connection: Connection,
    endings: Endings,
    live: Sequence[Job],
    changes: Changes,
    now: int,
    detail: str = "cancelled",
) -> None:
    """Cancel jobs that this transaction has locked and found not final; take down in ``changes`` what it does."""
    jobs.cancel_jobs(connection, (job.id for job in live), now)
    events.add_events(
        connection,
        [
            Event(
                job.id, now, JobState.CANCELLED, job.worker_id, job.attempt, job.lease, detail,
                since=job.started_at if job.lease else None,
            )
            for job in live
        ],
    )  # fmt: skip
    for job in live:
        changes.note(job.id, job.lane_id, JobState.CANCELLED)
    endings.pass_on(connection, [Ended(job, JobState.CANCELLED) for job in live], changes, now)
