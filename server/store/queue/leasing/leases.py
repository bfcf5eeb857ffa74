"""Leases: who owns which job until when. Every statement that ends or renews one names its fencing token.

``piecework.server.store.records.LeaseKind`` tells the kinds of leases apart.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    column,
    func,
    literal_column,
    null,
    select,
    true,
    union_all,
    update,
)

from piecework.protocol.states import JobState
from piecework.server.store.engine.connections import LostRace
from piecework.server.store.engine.statements import Statement, to_array, to_json
from piecework.server.store.engine.tables import jobs, limits
from piecework.server.store.queue.jobs.jobs import COLUMNS, in_lane
from piecework.server.store.queue.leasing.holds import MARK
from piecework.server.store.records import Job, LeaseEnd, LeaseGrant, read_job

OVERDUE_MAX = 500
"""Jobs that one look at the clock moves on at most."""

_RUNNING = jobs.c.state == literal_column("'Running'")
_ENQUEUED = jobs.c.state == literal_column("'Enqueued'")
_DUE = (jobs.c.state == literal_column("'Waiting'")) & jobs.c.waits.is_(None)
_EXPIRING = jobs.c.expires_at.is_not(None) & jobs.c.state.in_(
    [literal_column("'Paused'"), literal_column("'Waiting'"), literal_column("'Enqueued'")]
)


def _find_enqueued(
    priority: ColumnElement[Any], limit: ColumnElement[Any], *between: ColumnElement[bool]
) -> Select[Any]:
    return (
        select(*COLUMNS)
        .where(
            jobs.c.priority == priority,
            *between,
            _ENQUEUED,
            jobs.c.expires_at.is_(None) | (jobs.c.expires_at > bindparam("now")),
        )
        .order_by(jobs.c.lane_id, jobs.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )


_candidates = {
    dialect: Statement(
        _find_enqueued(bindparam("level"), bindparam("limit"), *between), "lane", "level", "after", "limit", "now"
    )
    for dialect, between in {
        "sqlite": [jobs.c.lane_id == bindparam("lane"), jobs.c.id > bindparam("after")],
        "postgresql": in_lane(bindparam("lane"), bindparam("after")),
    }.items()
}


def _write_candidates_of_many() -> Statement:
    """Return the statement that finds the candidates of many lanes at once, for PostgreSQL."""
    names = ("lane", "level", "after", "limit")
    arrays = (bindparam(name, type_=ARRAY(BigInteger)) for name in names)
    given = (
        func.unnest(*arrays).table_valued(*(column(name, BigInteger) for name in names)).render_derived("given")
    )
    lane, level, after, limit = (given.c[name] for name in names)
    found = _find_enqueued(level, limit, *in_lane(lane, after)).lateral("found")
    return Statement(select(*found.c).select_from(given.join(found, true())), *names, "now")


_candidates_of_many = _write_candidates_of_many()
# The next three find jobs by id. With a state spelled out, PostgreSQL might go through all jobs in that state.
_granting = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(
        state=literal_column("'Running'"),
        lease=bindparam("token"),
        lease_kind=bindparam("kind"),
        lease_until=bindparam("until"),
        worker_id=bindparam("worker"),
        incarnation=bindparam("start"),
        attempt=jobs.c.attempt + literal_column("1"),
        started_at=bindparam("now"),
        error=null(),
    )
)
_GRANTED = ("job", "was", "token", "kind", "until", "worker", "start", "now")
_grant = Statement(_granting, *_GRANTED)
# Where servers share the database, something may be paused between a look at the holds and this.
_grant_if = Statement(_granting.where(bindparam("mark", type_=BigInteger) == MARK), *_GRANTED, "mark")
_renew = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.lease == bindparam("token"))
    .values(lease_kind=literal_column("'fenced'"), lease_until=bindparam("until")),
    "job", "token", "until",
)  # fmt: skip
_end = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.lease == bindparam("token"))
    .values(
        state=bindparam("to"),
        attempt=bindparam("tries"),
        vanished=bindparam("gone"),
        output_id=bindparam("output"),
        error=bindparam("why"),
        usage=bindparam("used"),
        due_at=bindparam("due"),
        finished_at=bindparam("end"),
        last_lease=bindparam("last"),
        lease=null(),
        lease_kind=bindparam("left"),
        lease_until=null(),
    ),
    "job", "token", "to", "tries", "gone", "last", "output", "why", "used", "due", "end", "left",
)  # fmt: skip
_confirm = (
    update(jobs)
    .where(_RUNNING, jobs.c.lease_kind == "first")
    .values(lease_kind="unfenced", lease_until=bindparam("until"))
)
_confirm_job = Statement(_confirm.where(jobs.c.id == bindparam("job")), "job", "until")
_confirm_input = Statement(
    _confirm.where(jobs.c.input_id == bindparam("input"), jobs.c.finished_at.is_(None)), "input", "until"
)
_first_by_input = Statement(
    select(jobs.c.id)
    .where(jobs.c.input_id == bindparam("input"), jobs.c.finished_at.is_(None), jobs.c.lease_kind == "first")
    .limit(1),
    "input",
)
_overdue = Statement(
    union_all(
        *(
            select(
                select(*COLUMNS).where(*conditions).limit(OVERDUE_MAX).with_for_update(skip_locked=True).subquery()
            )
            for conditions in (
                (_RUNNING, jobs.c.lease_until <= bindparam("now")),
                (_EXPIRING, jobs.c.expires_at <= bindparam("now")),
                (_DUE, jobs.c.due_at <= bindparam("now")),
            )
        )
    ),
    "now",
)
_next_times = Statement(
    select(
        select(func.min(jobs.c.lease_until)).where(_RUNNING).scalar_subquery(),
        select(func.min(jobs.c.due_at)).where(_DUE).scalar_subquery(),
        select(func.min(jobs.c.expires_at)).where(_EXPIRING).scalar_subquery(),
        select(func.min(limits.c.wake_at)).where(limits.c.wake_at.is_not(None)).scalar_subquery(),
    )
)


class Wanted(NamedTuple):
    """Enqueued jobs that a claim looks at."""

    lane_id: int
    priority: int
    after: int
    """Jobs with larger ids than this one."""
    most: int


def find_candidates(connection: Connection, wanted: Sequence[Wanted], now: int) -> list[Job]:
    """Return the oldest enqueued jobs of lanes that have not expired.

    On PostgreSQL they are locked, and those that another server looks at are left out.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql" and len(wanted) > 1:
        rows = _candidates_of_many.rows(connection, *map(to_array, zip(*wanted, strict=True)), now)
    else:
        rows = [row for each in wanted for row in _candidates[dialect].rows(connection, *each, now)]
    return list(map(read_job, rows))


def grant_leases(
    connection: Connection, job_ids: Sequence[int], grant: LeaseGrant, now: int, mark: int = 0
) -> None:
    """Lease candidates to a worker: they are Running, with one more attempt.

    Raises LostRace when other things are paused than when ``holds.MARK`` was ``mark``.
    """
    common = (
        JobState.ENQUEUED.value,
        grant.lease,
        grant.kind,
        grant.until,
        grant.worker_id,
        grant.incarnation,
        now,
    )
    rows = [(id_, *common) for id_ in job_ids]
    if connection.dialect.name == "sqlite":  # one write comes after the other
        _grant.run_many(connection, rows)
    elif rows and not _grant_if.run_many(connection, [(*row, mark) for row in rows]):
        raise LostRace


def renew_lease(connection: Connection, job_id: int, lease: str, until: int) -> bool:
    """Extend a lease: its worker has it. Returns False when it is not the job's current one."""
    return _renew.run(connection, job_id, lease, until) == 1


def end_lease(connection: Connection, end: LeaseEnd) -> bool:
    """End one lease. Returns False, and changes nothing, when it is not the job's current one."""
    return _end.run(connection, *_end_row(end)) == 1


def end_leases(connection: Connection, ends: Sequence[LeaseEnd]) -> None:
    """End leases of jobs that this transaction has locked (``lock_jobs``) and found under these leases."""
    _end.run_many(connection, [_end_row(end) for end in ends])


def _end_row(end: LeaseEnd) -> tuple[object, ...]:
    return (
        end.job_id, end.lease, str(end.state), end.attempt, end.vanished, end.last_lease, end.output_id,
        to_json(end.error) if end.error else None, to_json(end.usage), end.due_at, end.finished_at,
        "unseen" if end.returned else None,
    )  # fmt: skip


def confirm_by_job(connection: Connection, job_id: int, until: int) -> bool:
    """Make a job's first lease a longer one. Returns False when it has no first lease."""
    return _confirm_job.run(connection, job_id, until) == 1


def confirm_by_input(connection: Connection, input_id: int, until: int) -> bool:
    """Make the first leases of jobs with this input longer ones. Returns False when there are none."""
    return _confirm_input.run(connection, input_id, until) > 0


def has_first_lease(connection: Connection, input_id: int) -> bool:
    """Tell whether a job with this input runs under a first lease."""
    return _first_by_input.row(connection, input_id) is not None


def find_overdue(connection: Connection, now: int) -> list[Job]:
    """Return jobs whose time has come: expired leases, jobs to cancel unstarted, jobs that are due.

    Only those that nobody else works on: who holds one hands in its outcome, or moves it on already, and when all
    who look waited for the same few, each with a job of its own in hand, nobody would come on.
    """
    return list(map(read_job, _overdue.rows(connection, now)))


def find_next_time(connection: Connection) -> int | None:
    """Return when the next job's time comes, or a limit has room again; None when none waits for a time."""
    [times] = _next_times.rows(connection)
    return min((time for time in times if time is not None), default=None)
