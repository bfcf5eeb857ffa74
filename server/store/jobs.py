"""Job rows: adding them, reading them, and the state changes that need no lease."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, bindparam, func, insert, literal_column, select, union_all, update

from piecework.protocol.states import FINAL_STATES, JobState
from server.store.bulk import Bulk, ManyById
from server.store.records import Job, NewJob
from server.store.tables import jobs

COLUMNS = (
    jobs.c.id, jobs.c.lambda_id, jobs.c.lane_id, jobs.c.state, jobs.c.priority, jobs.c.input_id,
    jobs.c.output_id, jobs.c.attempt, jobs.c.max_attempts, jobs.c.vanished, jobs.c.lease, jobs.c.lease_kind,
    jobs.c.lease_until, jobs.c.last_lease, jobs.c.worker_id, jobs.c.incarnation, jobs.c.due_at,
    jobs.c.expires_at, jobs.c.created_at, jobs.c.started_at, jobs.c.finished_at, jobs.c.key,
    jobs.c.key_digest, jobs.c.tags, jobs.c.options, jobs.c.error, jobs.c.usage,
)  # fmt: skip
_FINAL = [state.value for state in FINAL_STATES]
_UNSTARTED = [
    JobState.PAUSED.value,
    JobState.WAITING.value,
    JobState.ENQUEUED.value,
    JobState.PRE_ASSIGNED.value,
]

_insert = Bulk(
    insert(jobs),
    "id", "lambda_id", "lane_id", "state", "priority", "input_id", "attempt", "max_attempts", "vanished",
    "due_at", "expires_at", "created_at", "key", "key_digest", "tags", "options",
)  # fmt: skip
_by_id = select(*COLUMNS).where(jobs.c.id == bindparam("id"))
_by_ids = ManyById(select(*COLUMNS), jobs.c.id)
_lock_by_ids = ManyById(select(*COLUMNS).order_by(jobs.c.id).with_for_update(), jobs.c.id)
_by_keys = select(jobs.c.key, jobs.c.id, jobs.c.key_digest).where(
    jobs.c.key.in_(bindparam("keys", expanding=True))
)
_states = ManyById(select(jobs.c.id, jobs.c.state), jobs.c.id)
_no_lease = {"lease": None, "lease_kind": None, "lease_until": None}
_cancel = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.not_in(_FINAL))
    .values(state=JobState.CANCELLED.value, finished_at=bindparam("at"), due_at=None, **_no_lease)
)
_cancel_unstarted = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.in_(_UNSTARTED))
    .values(state=JobState.CANCELLED.value, finished_at=bindparam("at"), due_at=None)
)
_move = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(state=bindparam("to"), due_at=bindparam("due"))
)
_set_input = (
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state.in_(_UNSTARTED))
    .values(input_id=bindparam("input"))
)
# States are spelled out, not bound: only then can the database use the partial indexes.
_counts = union_all(
    *(
        select(jobs.c.lane_id, literal_column(f"'{state.value}'"), func.count())
        .where(jobs.c.state == literal_column(f"'{state.value}'"))
        .group_by(jobs.c.lane_id)
        for state in (JobState.ENQUEUED, JobState.RUNNING)
    )
)
_waiting_count = select(func.count()).where(jobs.c.state == literal_column("'Waiting'"))


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a listing shows; None does not restrict."""

    state: JobState | None = None
    lambda_id: int | None = None
    tag: str | None = None


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
    _insert.run(connection, rows)


def find_job(connection: Connection, id_: int) -> Job | None:
    row = connection.execute(_by_id, {"id": id_}).first()
    return Job._make(row) if row else None


def find_jobs(connection: Connection, ids: Iterable[int]) -> dict[int, Job]:
    """Return those of the jobs that exist, by id."""
    return {row[0]: Job._make(row) for row in _by_ids.rows(connection, ids)}


def lock_jobs(connection: Connection, ids: Iterable[int]) -> dict[int, Job]:
    """Return those of the jobs that exist, by id; nobody else changes them until the transaction ends."""
    return {row[0]: Job._make(row) for row in _lock_by_ids.rows(connection, ids)}


def find_states(connection: Connection, ids: Iterable[int]) -> dict[int, JobState]:
    """Return the states of those of the jobs that exist, by id."""
    return {row.id: JobState(row.state) for row in _states.rows(connection, ids)}


def find_by_keys(connection: Connection, keys: Iterable[str]) -> dict[str, tuple[int, bytes]]:
    """Return (job id, digest of its content) for those of the idempotency keys that are taken."""
    wanted = sorted(set(keys))
    if not wanted:
        return {}
    return {row.key: (row.id, row.key_digest) for row in connection.execute(_by_keys, {"keys": wanted}).all()}


def list_jobs(connection: Connection, which: JobFilter, *, before: int, limit: int) -> list[Job]:
    """Return jobs with ids below ``before``, newest first."""
    statement: Select[Any] = select(*COLUMNS).where(jobs.c.id < before).order_by(jobs.c.id.desc()).limit(limit)
    if which.state is not None:
        statement = statement.where(jobs.c.state == which.state.value)
    if which.lambda_id is not None:
        statement = statement.where(jobs.c.lambda_id == which.lambda_id)
    if which.tag is not None:
        quoted = msgspec.json.encode(which.tag).decode()
        statement = statement.where(jobs.c.tags.contains(quoted, autoescape=True))
    return [Job._make(row) for row in connection.execute(statement).all()]


def cancel_job(connection: Connection, id_: int, now: int) -> bool:
    """Cancel a job that is not final. Returns False when it was, or does not exist."""
    return connection.execute(_cancel, {"job": id_, "at": now}).rowcount == 1


def cancel_unstarted(connection: Connection, id_: int, now: int) -> bool:
    """Cancel a job that nobody runs yet. Returns False when somebody does, or it is final."""
    return connection.execute(_cancel_unstarted, {"job": id_, "at": now}).rowcount == 1


def move_job(connection: Connection, id_: int, was: JobState, to: JobState, due_at: int | None) -> bool:
    """Move a job that has no lease to another state without one. Returns False when it is not in ``was``."""
    values = {"job": id_, "was": was.value, "to": to.value, "due": due_at}
    return connection.execute(_move, values).rowcount == 1


def set_input(connection: Connection, id_: int, input_id: int) -> bool:
    """Give a job that has not started another input. Returns False when it has."""
    return connection.execute(_set_input, {"job": id_, "input": input_id}).rowcount == 1


def count_by_lane(connection: Connection) -> dict[int, dict[JobState, int]]:
    """Return how many jobs are enqueued and running, by lane id."""
    counts: dict[int, dict[JobState, int]] = {}
    for lane_id, state, count in connection.execute(_counts):
        counts.setdefault(lane_id, {})[JobState(state)] = count
    return counts


def count_waiting(connection: Connection) -> int:
    """Return how many jobs wait for their time."""
    return int(connection.execute(_waiting_count).scalar() or 0)


def to_json(value: object) -> str | None:
    """Write a value for a text column; None stays NULL."""
    return None if value is None else msgspec.json.encode(value).decode()
