"""The trail of what happened to each job, in the order in which it was committed."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select

from piecework.protocol.states import JobState
from server.store.bulk import Bulk
from server.store.records import Event
from server.store.tables import events

_insert = Bulk(insert(events), "job_id", "at", "state", "worker_id", "attempt", "lease", "detail")
_of_job = (
    select(
        events.c.job_id, events.c.at, events.c.state, events.c.worker_id, events.c.attempt, events.c.lease,
        events.c.detail,
    )
    .where(events.c.job_id == bindparam("job_id"))
    .order_by(events.c.id)
)  # fmt: skip


def add_events(connection: Connection, new: Sequence[Event]) -> None:
    _insert.run(connection, [(e[0], e[1], e[2].value, *e[3:]) for e in new])


def list_events(connection: Connection, job_id: int) -> list[Event]:
    """Return a job's events, oldest first; empty when there is no such job."""
    rows = connection.execute(_of_job, {"job_id": job_id})
    return [
        Event(row.job_id, row.at, JobState(row.state), row.worker_id, row.attempt, row.lease, row.detail)
        for row in rows
    ]
