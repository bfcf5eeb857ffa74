"""The trail of what happened to each job, in the order in which it was committed."""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, insert, select

from piecework.protocol.states import FINAL_STATES, JobState
from piecework.server.store.engine.statements import ByList, Statement, without_nul
from piecework.server.store.engine.tables import events
from piecework.server.store.queue.figures.feed import note_events
from piecework.server.store.records import Event

_columns = (
    events.c.job_id, events.c.at, events.c.state, events.c.worker_id, events.c.attempt, events.c.lease,
    events.c.detail, events.c.since,
)  # fmt: skip
_insert = Statement(insert(events), *(column.name for column in _columns))
REFUSED = "refused: "
"""How the details of an outcome begin that was refused: it changed nothing."""
_changes = ByList(select(events.c.job_id, events.c.at, events.c.state, events.c.detail), events.c.job_id)
_CHANGED = {state.value for state in (*FINAL_STATES, JobState.PAUSED)}
_of_job = Statement(select(*_columns).where(events.c.job_id == bindparam("job")).order_by(events.c.id), "job")


def add_events(connection: Connection, new: Sequence[Event]) -> None:
    """Store events. What they changed comes into the feed as well."""
    note_events(connection, new)
    rows = [
        (id_, at, str(state), worker_id, attempt, without_nul(lease), detail and without_nul(detail), since)
        for id_, at, state, worker_id, attempt, lease, detail, since, _ in new
    ]
    _insert.run_many(connection, rows)


def find_changed_since(connection: Connection, job_ids: Sequence[int], at: int) -> set[int]:
    """Return those of the jobs that ended, or were paused, after a time."""
    return {
        id_
        for id_, then, state, detail in _changes.rows(connection, job_ids)
        if then > at and state in _CHANGED and not (detail or "").startswith(REFUSED)
    }


def list_events(connection: Connection, job_id: int) -> list[Event]:
    """Return the events that were stored of a job, oldest first."""
    return [Event(id_, at, JobState(state), *rest) for id_, at, state, *rest in _of_job.rows(connection, job_id)]
