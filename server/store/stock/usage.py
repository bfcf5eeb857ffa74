"""How much there is of what the server stores, without reading all of it."""

from sqlalchemy import Connection, Select, func, literal_column, select

from piecework.protocol.states import JobState
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import blobs, events, jobs, logs

JOBS_MAX = 1_000_000
ROWS_MAX = 10_000
"""Rows whose sizes are added up."""
IN_INDEX = (JobState.ENQUEUED, JobState.RUNNING, JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
"""States whose jobs an index has together."""


def _count(rows: Select[tuple[int]], most: int) -> Statement:
    return Statement(select(func.count()).select_from(rows.limit(most).subquery()))


def _amount(rows: Select[tuple[int]]) -> Statement:
    few = rows.limit(ROWS_MAX + 1).subquery()
    [size] = few.c
    return Statement(select(func.count(), func.coalesce(func.sum(size), 0)).select_from(few))


def _in_state(state: JobState) -> Statement:
    rows = select(jobs.c.state).where(jobs.c.state == literal_column(f"'{state.value}'"))
    # Said besides, so that the database can use the index of such jobs alone.
    return _count(rows.where(jobs.c.finished_at.is_not(None)) if state.is_final else rows, JOBS_MAX)


_states = {state: _in_state(state) for state in IN_INDEX}
_all = _count(select(jobs.c.lane_id).order_by(jobs.c.lane_id), 2 * JOBS_MAX)
_events = Statement(select(func.max(events.c.id) - func.min(events.c.id) + literal_column("1")))
_logs = _amount(select(func.length(logs.c.content).label("size")).order_by(logs.c.job_id.desc()))
_blobs = _amount(select(blobs.c.size).where(blobs.c.content.is_not(None)).order_by(blobs.c.id.desc()))
_stored = _amount(select(blobs.c.size).where(blobs.c.content.is_(None)).order_by(blobs.c.sha256))


def count_jobs(connection: Connection) -> tuple[dict[JobState, int], int]:
    """Return how many jobs are in which state of IN_INDEX, JOBS_MAX at most, and how many in the others."""
    found = {state: int(statement.value(connection)) for state, statement in _states.items()}
    return found, max(0, int(_all.value(connection)) - sum(found.values()))


def count_events(connection: Connection) -> int:
    """Return about how many events there are: as many as numbers were given between the oldest and the newest."""
    return int(_events.value(connection) or 0)


def measure_logs(connection: Connection) -> tuple[int, int]:
    """Return the number and the bytes of logs; of the newest ROWS_MAX + 1 at most, as the others below."""
    return _read(connection, _logs)


def measure_blobs(connection: Connection) -> tuple[int, int]:
    """Return the number and the bytes of blobs in the database."""
    return _read(connection, _blobs)


def measure_stored(connection: Connection) -> tuple[int, int]:
    """Return the number and the bytes of blobs in the blob store."""
    return _read(connection, _stored)


def _read(connection: Connection, statement: Statement) -> tuple[int, int]:
    [(count, size)] = statement.rows(connection)
    return int(count), int(size)


def measure_database(connection: Connection) -> int:
    """Return how many bytes a PostgreSQL database takes."""
    return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
