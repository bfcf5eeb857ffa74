"""Jobs that are final and whose time is over, in the order in which it was."""

from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, bindparam, literal_column, select

from piecework.protocol.states import JobState
from piecework.server.store.engine.statements import Statement, driver_of
from piecework.server.store.engine.tables import OWN_END, jobs


class OverAt(NamedTuple):
    """When a job's time is over, or up to where a list of them was read."""

    at: int
    id: int = 0


START = OverAt(-(1 << 62))
SORT_EQUALS = "SET LOCAL enable_incremental_sort TO on"
"""For PostgreSQL, which is kept from it elsewhere: here indexes give the order but for jobs of one moment."""


def _list(at: ColumnElement[Any], *which: ColumnElement[bool], names: tuple[str, ...] = ()) -> Statement:
    """Return the jobs whose time ``at`` lies between a position and another time, in order."""
    return Statement(
        select(at, jobs.c.id)
        .where(*which, at >= bindparam("above"), (at > bindparam("above")) | (jobs.c.id > bindparam("after")))
        .where(at <= bindparam("until"))
        .order_by(at, jobs.c.id)
        .limit(bindparam("limit")),
        *names, "above", "after", "until", "limit",
    )  # fmt: skip


# Each walks an index of its own. Numbers and states are spelled out: only then can the partial ones be used.
_by_state = _list(
    jobs.c.finished_at, jobs.c.state == bindparam("which"), jobs.c.retain_ms.is_(None), names=("which",)
)
_unread = _list(jobs.c.finished_at, jobs.c.finished_at.is_not(None), jobs.c.retain_ms == literal_column("0"))
_own = _list(OWN_END, jobs.c.retain_ms > literal_column("0"))


def _read(connection: Connection, statement: Statement, *values: object) -> list[OverAt]:
    if connection.dialect.name == "sqlite":
        return [OverAt(*row) for row in statement.rows(connection, *values)]
    driver = driver_of(connection)
    with driver.transaction():
        driver.execute(SORT_EQUALS)
        return [OverAt(*row) for row in statement.rows(connection, *values)]


def list_by_state(connection: Connection, after: OverAt, until: int, limit: int, state: JobState) -> list[OverAt]:
    """Return jobs that ended in a state and did not say how long they stay, by when they ended."""
    return _read(connection, _by_state, state.value, *after, until, limit)


def list_unread(connection: Connection, after: OverAt, until: int, limit: int) -> list[OverAt]:
    """Return jobs that stay until they are read, by when they ended."""
    return _read(connection, _unread, *after, until, limit)


def list_expired(connection: Connection, after: OverAt, until: int, limit: int) -> list[OverAt]:
    """Return jobs that said how long they stay, by when that is over."""
    return _read(connection, _own, *after, until, limit)
