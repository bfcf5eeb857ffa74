"""Job rows: adding them, reading them, and the state changes that need no lease."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)

from piecework.protocol.states import NEXT_STATES, UNSTARTED_STATES, JobState
from server.store.engine.ids import read_newest
from server.store.engine.statements import ByList, Statement, to_json
from server.store.engine.tables import blobs, jobs
from server.store.records import Blob, Job, NewJob, read_job

COLUMNS = (
    jobs.c.id, jobs.c.lambda_id, jobs.c.lane_id, jobs.c.state, jobs.c.priority, jobs.c.input_id,
    jobs.c.output_id, jobs.c.attempt, jobs.c.max_attempts, jobs.c.vanished, jobs.c.lease, jobs.c.lease_kind,
    jobs.c.lease_until, jobs.c.last_lease, jobs.c.worker_id, jobs.c.incarnation, jobs.c.due_at,
    jobs.c.expires_at, jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at, jobs.c.key,
    jobs.c.key_digest, jobs.c.tags, jobs.c.options, jobs.c.error, jobs.c.usage,
)  # fmt: skip
# States are spelled out, not bound: only then can the database use the partial indexes.


def _spell(states: Iterable[JobState]) -> list[ColumnElement[str]]:
    return [literal_column(f"'{state.value}'") for state in sorted(states)]


_CANCELLABLE = _spell(each for each in JobState if JobState.CANCELLED in NEXT_STATES[each])
_UNSTARTED = _spell(UNSTARTED_STATES)

_insert = Statement(
    insert(jobs),
    "id", "lambda_id", "lane_id", "state", "priority", "input_id", "attempt", "max_attempts", "vanished",
    "due_at", "expires_at", "created_at", "key", "key_digest", "tags", "options",
)  # fmt: skip
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
    .values(state=JobState.CANCELLED.value, finished_at=bindparam("at"), due_at=None, **_no_lease),
    "job", "at",
)  # fmt: skip
_cancel_unstarted = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.in_(_UNSTARTED))
    .values(state=JobState.CANCELLED.value, finished_at=bindparam("at"), due_at=None),
    "job", "at",
)  # fmt: skip
_move = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(state=bindparam("to"), due_at=bindparam("due")),
    "job", "was", "to", "due",
)  # fmt: skip
_set_input = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.in_(_UNSTARTED))
    .values(input_id=bindparam("input")),
    "job", "input",
)  # fmt: skip
_counts = Statement(
    union_all(
        *(
            select(jobs.c.lane_id, literal_column(f"'{state.value}'"), func.count())
            .where(jobs.c.state == literal_column(f"'{state.value}'"))
            .group_by(jobs.c.lane_id)
            for state in (JobState.ENQUEUED, JobState.RUNNING)
        )
    )
)
_in_lane = (jobs.c.lane_id == bindparam("lane"), jobs.c.state == literal_column("'Enqueued'"))
# In two parts, each a stretch of the index of claims: with OR, the whole lane would be gone through.
_ahead = Statement(
    select(func.count()).select_from(
        union_all(
            *(
                select(select(jobs.c.id).where(*_in_lane, *conditions).limit(bindparam("most")).subquery())
                for conditions in (
                    (jobs.c.priority > bindparam("level"),),
                    (jobs.c.priority == bindparam("level"), jobs.c.id < bindparam("job")),
                )
            )
        ).subquery()
    ),
    "lane", "level", "job", "most",
)  # fmt: skip
_waiting_count = Statement(select(func.count()).where(jobs.c.state == literal_column("'Waiting'")))


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a listing shows; None does not restrict."""

    state: JobState | None = None
    lambda_id: int | None = None
    tag: str | None = None
    worker_id: int | None = None
    """Who runs it, or ran it last."""


def add_jobs(connection: Connection, new: Sequence[NewJob], lane_ids: Sequence[int], now: int) -> None:
    """Store jobs, each in the lane beside it."""
    rows = [
        (
            job.id, job.lambda_id, lane_id, job.state.value, job.priority, job.input_id, 0, job.max_attempts, 0,
            job.due_at, job.expires_at, now, job.key, job.key_digest, to_json(job.tags or None),
            to_json(job.options),
        )
        for job, lane_id in zip(new, lane_ids, strict=True)
    ]  # fmt: skip
    _insert.run_many(connection, rows)


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
    statement = _filter(select(*COLUMNS), which).order_by(jobs.c.id.desc())

    def read(above: int, below: int, most: int) -> list[Any]:
        page = statement.where(jobs.c.id > above, jobs.c.id < below).limit(most)
        return list(connection.execute(page))

    return list(map(read_job, read_newest(read, before, limit)))


def count_jobs(connection: Connection, which: JobFilter, most: int) -> int:
    """Return how many jobs there are; ``most`` for more."""
    some = _filter(select(jobs.c.id), which).limit(most).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one())


def _filter(statement: Select[Any], which: JobFilter) -> Select[Any]:
    if which.state is not None:
        statement = statement.where(jobs.c.state == which.state.value)
    if which.lambda_id is not None:
        statement = statement.where(jobs.c.lambda_id == which.lambda_id)
    if which.worker_id is not None:
        statement = statement.where(jobs.c.worker_id == which.worker_id)
    if which.tag is not None:
        quoted = msgspec.json.encode(which.tag).decode()
        statement = statement.where(jobs.c.tags.contains(quoted, autoescape=True))
    return statement


def cancel_job(connection: Connection, id_: int, now: int) -> bool:
    """Cancel a job that is not final. Returns False when it was, or does not exist."""
    return _cancel.run(connection, id_, now) == 1


def cancel_unstarted(connection: Connection, id_: int, now: int) -> bool:
    """Cancel a job that nobody runs yet. Returns False when somebody does, or it is final."""
    return _cancel_unstarted.run(connection, id_, now) == 1


def move_job(connection: Connection, id_: int, was: JobState, to: JobState, due_at: int | None) -> bool:
    """Move a job that has no lease to another state without one. Returns False when it is not in ``was``."""
    return _move.run(connection, id_, was.value, to.value, due_at) == 1


def set_input(connection: Connection, id_: int, input_id: int) -> bool:
    """Give a job that has not started another input. Returns False when it has."""
    return _set_input.run(connection, id_, input_id) == 1


def count_by_lane(connection: Connection) -> dict[int, dict[JobState, int]]:
    """Return how many jobs are enqueued and running, by lane id."""
    counts: dict[int, dict[JobState, int]] = {}
    for lane_id, state, count in _counts.rows(connection):
        counts.setdefault(lane_id, {})[JobState(state)] = count
    return counts


def count_ahead(connection: Connection, lane_id: int, priority: int, id_: int, most: int) -> int:
    """Return how many enqueued jobs of a lane come before one; counts no further than about ``most``."""
    return int(_ahead.value(connection, lane_id, priority, id_, most))


def count_waiting(connection: Connection) -> int:
    """Return how many jobs wait for their time."""
    return int(_waiting_count.value(connection))
