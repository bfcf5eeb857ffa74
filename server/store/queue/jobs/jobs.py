"""Job rows: adding them, reading them, and the state changes that need no lease."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)

from piecework.protocol.ids import ID_MAX
from piecework.protocol.states import NEXT_STATES, UNSTARTED_STATES, JobState
from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import ByList, Statement, to_json
from piecework.server.store.engine.tables import blobs, jobs
from piecework.server.store.job_keys import NO_KEYS
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.records import Blob, Job, NewJob, WaitsFor, read_job

COLUMNS = (
    jobs.c.id, jobs.c.lambda_id, jobs.c.lane_id, jobs.c.state, jobs.c.priority, jobs.c.input_id,
    jobs.c.output_id, jobs.c.attempt, jobs.c.max_attempts, jobs.c.vanished, jobs.c.lease, jobs.c.lease_kind,
    jobs.c.lease_until, jobs.c.last_lease, jobs.c.worker_id, jobs.c.incarnation, jobs.c.due_at,
    jobs.c.expires_at, jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at, jobs.c.key,
    jobs.c.key_digest, jobs.c.tags, jobs.c.options, jobs.c.error, jobs.c.usage, jobs.c.group_id, jobs.c.submitter,
    jobs.c.waits, jobs.c.pending, jobs.c.awaited, jobs.c.retry_of, jobs.c.concurrency_key, jobs.c.rate_key,
    jobs.c.retain_ms, jobs.c.schedule_id,
)  # fmt: skip
# States are spelled out, not bound: only then can the database use the partial indexes.


def _spell(states: Iterable[JobState]) -> list[ColumnElement[str]]:
    return [literal_column(f"'{state.value}'") for state in sorted(states)]


_CANCELLABLE = _spell(each for each in JobState if JobState.CANCELLED in NEXT_STATES[each])
_UNSTARTED = _spell(UNSTARTED_STATES)

_PLAIN = (
    "id", "lambda_id", "lane_id", "state", "priority", "input_id", "attempt", "max_attempts", "vanished",
    "due_at", "expires_at", "created_at", "key", "key_digest", "tags", "options", "submitter",
)  # fmt: skip
_SPECIAL = ("group_id", "waits", "pending", "awaited", "retry_of", "retain_ms", "schedule_id")
"""What most jobs have none of: to store so many NULLs takes a third of the time of storing a job."""
_NOTHING = (None,) * len(_SPECIAL)
_insert_plain = Statement(insert(jobs), *_PLAIN)
_insert_special = Statement(insert(jobs), *_PLAIN, *_SPECIAL, "concurrency_key", "rate_key")
_by_id = Statement(select(*COLUMNS).where(jobs.c.id == bindparam("job")), "job")
_by_ids = ByList(select(*COLUMNS), jobs.c.id)
_with_outputs = ByList(
    select(*COLUMNS, *blobs.c).select_from(jobs.outerjoin(blobs, blobs.c.id == jobs.c.output_id)), jobs.c.id
)
_lock_by_ids = ByList(select(*COLUMNS).order_by(jobs.c.id).with_for_update(), jobs.c.id)
_by_keys = ByList(select(jobs.c.key, jobs.c.id, jobs.c.key_digest), jobs.c.key, str)
_states = ByList(select(jobs.c.id, jobs.c.state), jobs.c.id)
_no_lease = {"lease": None, "lease_kind": None, "lease_until": None}
_cancel = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.in_(_CANCELLABLE))
    .values(state=JobState.CANCELLED.value, finished_at=bindparam("at"), due_at=None, waits=None, **_no_lease),
    "job", "at",
)  # fmt: skip
_cancel_unstarted = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.in_(_UNSTARTED))
    .values(state=JobState.CANCELLED.value, finished_at=bindparam("at"), due_at=None, waits=None),
    "job", "at",
)  # fmt: skip
_move = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(state=bindparam("to"), due_at=bindparam("due"), waits=bindparam("for")),
    "job", "was", "to", "due", "for",
)  # fmt: skip
_set_input = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.in_(_UNSTARTED))
    .values(input_id=bindparam("input")),
    "job", "input",
)  # fmt: skip
_ID_MAX: ColumnElement[Any] = literal_column(str(ID_MAX))
# A limit keeps SQLite from going through all jobs in the order of their lanes to find the few that run.
_run = (
    select(jobs.c.lane_id, jobs.c.lambda_id)
    .where(jobs.c.state == literal_column("'Running'"))
    .order_by(jobs.c.lease_until)
    .limit(_ID_MAX)
    .subquery()
)
_running_by_lane = Statement(select(_run.c.lane_id, func.count()).group_by(_run.c.lane_id))
_running_by_lambda = Statement(
    select(_run.c.lambda_id, _run.c.lane_id, func.count()).group_by(_run.c.lambda_id, _run.c.lane_id)
)
_enqueued_by_lambda = Statement(
    select(jobs.c.lambda_id, jobs.c.lane_id, func.count(), func.min(jobs.c.created_at))
    .where(jobs.c.state == literal_column("'Enqueued'"))
    .group_by(jobs.c.lambda_id, jobs.c.lane_id)
)
_enqueued_by_lane = Statement(
    select(jobs.c.lane_id, func.count())
    .where(jobs.c.state == literal_column("'Enqueued'"))
    .group_by(jobs.c.priority, jobs.c.lane_id)  # as the index of claims is ordered
)


def in_lane(
    lane: ColumnElement[Any], after: ColumnElement[Any], before: ColumnElement[Any] = _ID_MAX
) -> list[ColumnElement[bool]]:
    """Return what is true of jobs of a lane between two ids, for PostgreSQL, with order by lane and id.

    With ``lane_id = …`` it may walk all jobs by their ids: it does so while most of them are enqueued, and goes on
    when these have ended. SQLite would walk the lane from its start.
    """
    place = tuple_(jobs.c.lane_id, jobs.c.id)
    return [place > tuple_(lane, after), place < tuple_(lane, before)]


def _write_enqueued(*between: ColumnElement[bool]) -> Statement:
    some = (
        select(jobs.c.id)
        .where(jobs.c.state == literal_column("'Enqueued'"), jobs.c.priority == bindparam("level"), *between)
        .order_by(jobs.c.lane_id, jobs.c.id)
        .limit(bindparam("most"))
    )
    return Statement(select(func.count()).select_from(some.subquery()), "level", "lane", "job", "most")


_enqueued = {
    "sqlite": _write_enqueued(jobs.c.lane_id == bindparam("lane"), jobs.c.id < bindparam("job")),
    "postgresql": _write_enqueued(*in_lane(bindparam("lane"), literal_column("0"), bindparam("job"))),
}
# In two parts, each with an index of its own: what waits for a time, and what waits for something else.
_waiting_count = Statement(
    select(
        select(func.count())
        .where(jobs.c.state == literal_column("'Waiting'"), jobs.c.waits.is_(None))
        .scalar_subquery()
        + select(func.count())
        .where(jobs.c.waits.is_not(None), jobs.c.waits.in_([literal_column("'after'"), literal_column("'key'")]))
        .scalar_subquery()
    )
)


class EnqueuedJobs(NamedTuple):
    """Some jobs that are enqueued."""

    total: int
    oldest_at: int
    """When the oldest of them was submitted."""


def add_jobs(connection: Connection, new: Sequence[NewJob], lane_ids: Sequence[int], now: int) -> None:
    """Store jobs, each in the lane beside it."""
    plain, special = [], []
    for job, lane_id in zip(new, lane_ids, strict=True):
        row = (
            job.id, job.lambda_id, lane_id, str(job.state), job.priority, job.input_id, 0, job.max_attempts, 0,
            job.due_at, job.expires_at, now, job.key, job.key_digest, to_json(job.tags) if job.tags else None,
            to_json(job.options) if job.options else None, job.submitter,
        )  # fmt: skip
        rest = (
            job.group_id, job.waits, job.pending, job.awaited, job.retry_of, job.retain_ms, job.schedule_id,
        )  # fmt: skip
        if rest == _NOTHING and job.keys == NO_KEYS:
            plain.append(row)
        else:
            special.append((*row, *rest, job.keys.concurrency_key, job.keys.rate_key))
    _insert_plain.run_many(connection, plain)
    _insert_special.run_many(connection, special)


def find_job(connection: Connection, id_: int) -> Job | None:
    row = _by_id.row(connection, id_)
    return read_job(row) if row else None


def find_jobs(connection: Connection, ids: Iterable[int]) -> dict[int, Job]:
    """Return those of the jobs that exist, by id."""
    return {row[0]: read_job(row) for row in _by_ids.rows(connection, ids)}


def find_jobs_with_outputs(connection: Connection, ids: Iterable[int]) -> dict[int, tuple[Job, Blob | None]]:
    """Return those of the jobs that exist, by id, each with its output's blob, if there is one."""
    width = len(COLUMNS)
    return {
        row[0]: (read_job(row[:width]), None if row[width] is None else Blob._make(row[width:]))
        for row in _with_outputs.rows(connection, ids)
    }


def lock_jobs(connection: Connection, ids: Iterable[int]) -> dict[int, Job]:
    """Return those of the jobs that exist, by id; nobody else changes them until the transaction ends."""
    return {row[0]: read_job(row) for row in _lock_by_ids.rows(connection, ids)}


def find_states(connection: Connection, ids: Iterable[int]) -> dict[int, JobState]:
    """Return the states of those of the jobs that exist, by id."""
    return {id_: JobState(state) for id_, state in _states.rows(connection, ids)}


def find_by_keys(connection: Connection, keys: Iterable[str]) -> dict[str, tuple[int, bytes]]:
    """Return (job id, digest of its content) for those of the idempotency keys that are taken."""
    return {key: (id_, digest) for key, id_, digest in _by_keys.rows(connection, keys)}


def list_jobs(connection: Connection, which: JobFilter, *, before: int, limit: int) -> list[Job]:
    """Return jobs that are older than ``before``, newest first."""
    statement = which.narrow(select(*COLUMNS)).order_by(jobs.c.id.desc())

    def read(above: int, below: int, most: int) -> list[Any]:
        page = statement.where(jobs.c.id > above, jobs.c.id < below).limit(most)
        return list(connection.execute(page))

    return list(map(read_job, read_newest(read, before, limit)))


def count_jobs(connection: Connection, which: JobFilter, most: int) -> int:
    """Return how many jobs there are; ``most`` for more."""
    some = which.narrow(select(jobs.c.id)).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def cancel_jobs(connection: Connection, ids: Iterable[int], now: int) -> int:
    """Cancel those of the jobs that exist and are not final; this transaction has locked them (``lock_jobs``).

    Returns how many there were.
    """
    return _cancel.run_many(connection, [(id_, now) for id_ in ids])


def cancel_unstarted(connection: Connection, id_: int, now: int) -> bool:
    """Cancel a job that nobody runs yet. Returns False when somebody does, or it is final."""
    return _cancel_unstarted.run(connection, id_, now) == 1


def move_job(
    connection: Connection,
    id_: int,
    was: JobState,
    to: JobState,
    due_at: int | None,
    waits: WaitsFor | None = None,
) -> bool:
    """Move a job that has no lease to another state without one. Returns False when it is not in ``was``."""
    return _move.run(connection, id_, was.value, to.value, due_at, waits) == 1


def move_jobs(connection: Connection, moves: Iterable[tuple[Job, JobState, int | None, WaitsFor | None]]) -> None:
    """Do what ``move_job`` does with jobs that this transaction has locked (``lock_jobs``)."""
    _move.run_many(connection, [(job.id, job.state_name, to.value, due, waits) for job, to, due, waits in moves])


def set_input(connection: Connection, id_: int, input_id: int) -> bool:
    """Give a job that has not started another input. Returns False when it has."""
    return _set_input.run(connection, id_, input_id) == 1


def count_enqueued_by_lane(connection: Connection) -> dict[int, int]:
    """Return how many jobs are enqueued, by lane id. It looks at all: a million takes a tenth of a second."""
    counts: dict[int, int] = {}
    for lane_id, count in _enqueued_by_lane.rows(connection):
        counts[lane_id] = counts.get(lane_id, 0) + count
    return counts


def count_running_by_lane(connection: Connection) -> dict[int, int]:
    """Return how many jobs run, by lane id."""
    return dict(_running_by_lane.rows(connection))


def count_enqueued_by_lambda(connection: Connection) -> dict[tuple[int, int], EnqueuedJobs]:
    """Return what is enqueued, by the ids of lambda and lane. On SQLite a million takes a quarter of a second."""
    rows = _enqueued_by_lambda.rows(connection)
    return {(lambda_id, lane_id): EnqueuedJobs(*found) for lambda_id, lane_id, *found in rows}


def count_running_by_lambda(connection: Connection) -> dict[tuple[int, int], int]:
    """Return how many jobs run, by the ids of lambda and lane."""
    return {(lambda_id, lane_id): count for lambda_id, lane_id, count in _running_by_lambda.rows(connection)}


def count_enqueued(connection: Connection, priority: int, lane_id: int, before: int, most: int) -> int:
    """Return how many jobs of a priority and lane are enqueued with ids below ``before``; ``most`` for more."""
    return int(_enqueued[connection.dialect.name].value(connection, priority, lane_id, before, most))


def count_waiting(connection: Connection) -> int:
    """Return how many jobs wait: for their time, for others, or for room under a limit."""
    return int(_waiting_count.value(connection))
