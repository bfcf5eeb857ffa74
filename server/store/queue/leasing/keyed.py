"""The jobs of keys with limits: those that run, those that could start, and those that wait for room.

Every statement walks the index of the live jobs of one kind of key; states are spelled out for that.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    literal_column,
    null,
    select,
    update,
)

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import jobs
from piecework.server.store.queue.jobs.jobs import COLUMNS
from piecework.server.store.queue.leasing.limits import KINDS, Kind
from piecework.server.store.records import Job, WaitsFor, read_job

WAITS: dict[Kind, WaitsFor] = {"concurrency": "key", "rate": "rate"}
"""What a job waits for that a limit holds back."""

_which: BindParameter[Any] = bindparam("which")
_lane: BindParameter[Any] = bindparam("lane")
_most: BindParameter[Any] = bindparam("most")
Conditions = tuple[ColumnElement[bool], ...]


def _in_state(kind: Kind, state: str) -> Conditions:
    of_key = (jobs.c[f"{kind}_key"] == _which, jobs.c.finished_at.is_(None))
    return (*of_key, jobs.c.state == literal_column(f"'{state}'"))


def _parked(kind: Kind) -> Conditions:
    return (*_in_state(kind, "Waiting"), jobs.c.waits == literal_column(f"'{WAITS[kind]}'"))


def _count(*conditions: ColumnElement[bool]) -> Select[Any]:
    some = select(jobs.c.id).where(*conditions).limit(_most).subquery()
    return select(func.count()).select_from(some)


def _write_lanes(kind: Kind) -> Statement:
    """Return the statement that goes from lane to lane with one look at the index for each."""
    start: Any = select(func.min(jobs.c.lane_id).label("lane_id")).where(
        *_parked(kind), jobs.c.lane_id > bindparam("after")
    )
    found = start.cte("found", recursive=True)
    next_ = select(func.min(jobs.c.lane_id)).where(*_parked(kind), jobs.c.lane_id > found.c.lane_id)
    found = found.union_all(select(next_.scalar_subquery()).where(found.c.lane_id.is_not(None)))
    lanes = select(found.c.lane_id).where(found.c.lane_id.is_not(None)).limit(_most)
    return Statement(lanes, "which", "after", "most")


def _write_next_key(kind: Kind) -> Statement:
    column = jobs.c[f"{kind}_key"]
    conditions = _parked(kind)[1:]
    return Statement(select(func.min(column)).where(column > _which, *conditions), "which")


_lanes = {kind: _write_lanes(kind) for kind in KINDS}
_first = {
    kind: Statement(
        select(*COLUMNS)
        .where(*_parked(kind), jobs.c.lane_id == _lane)
        .order_by(jobs.c.priority.desc(), jobs.c.id)
        .limit(_most)
        .with_for_update(skip_locked=True),
        "which", "lane", "most",
    )
    for kind in KINDS
}  # fmt: skip
_before = {
    kind: Statement(
        _count(
            *_parked(kind),
            jobs.c.lane_id == _lane,
            jobs.c.priority >= bindparam("least"),
            jobs.c.priority <= bindparam("level"),
            jobs.c.id < bindparam("job"),
        ),
        "which", "lane", "least", "level", "job", "most",
    )
    for kind in KINDS
}  # fmt: skip
_waiting = {kind: Statement(_count(*_parked(kind)), "which", "most") for kind in KINDS}
_ready = {
    kind: Statement(
        _count(
            *_in_state(kind, "Enqueued"),
            jobs.c.waits.is_(None),
            jobs.c.lane_id == _lane,
            jobs.c.priority >= bindparam("level"),
        ),
        "which", "lane", "level", "most",
    )
    for kind in KINDS
}  # fmt: skip
_running = {kind: Statement(_count(*_in_state(kind, "Running")), "which", "most") for kind in KINDS}
_live = {
    kind: Statement(
        select(jobs.c.id)
        .where(jobs.c[f"{kind}_key"] == _which, jobs.c.finished_at.is_(None))
        .limit(literal_column("1")),
        "which",
    )
    for kind in KINDS
}
_park = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(state=literal_column("'Waiting'"), waits=bindparam("why"), due_at=null()),
    "job", "was", "why",
)  # fmt: skip
_admit = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(state=literal_column("'Enqueued'"), waits=null()),
    "job", "was",
)  # fmt: skip


def find_parked_lanes(connection: Connection, kind: Kind, key: str, after: int, most: int) -> list[int]:
    """Return lanes with ids above ``after`` in which jobs of a key wait for room, in their order."""
    return [lane_id for (lane_id,) in _lanes[kind].rows(connection, key, after, most)]


def find_parked(connection: Connection, kind: Kind, key: str, lane_id: int, most: int) -> list[Job]:
    """Return the first jobs of a key and lane that wait for room: highest priority first, then oldest.

    On PostgreSQL they are locked, and those that somebody else has locked are left out.
    """
    return list(map(read_job, _first[kind].rows(connection, key, lane_id, most)))


def count_ready(connection: Connection, kind: Kind, key: str, lane_id: int, priority: int, most: int) -> int:
    """Return how many jobs of a key and lane are enqueued with this priority or above; ``most`` for more."""
    return int(_ready[kind].value(connection, key, lane_id, priority, most))


def count_running(connection: Connection, kind: Kind, key: str, most: int) -> int:
    """Return how many jobs of a key are leased; ``most`` for more."""
    return int(_running[kind].value(connection, key, most))


def count_parked(connection: Connection, kind: Kind, key: str, most: int) -> int:
    """Return how many jobs of a key wait for room; ``most`` for more."""
    return int(_waiting[kind].value(connection, key, most))


def count_parked_before(connection: Connection, kind: Kind, key: str, job: Job, most: int) -> int:
    """Return how many jobs of a key wait for room before one of them, of its lane; ``most`` for more."""
    before = _before[kind]
    higher = before.value(connection, key, job.lane_id, job.priority + 1, 1000, 1 << 62, most)
    return min(
        most, int(higher + before.value(connection, key, job.lane_id, job.priority, job.priority, job.id, most))
    )


def has_live_jobs(connection: Connection, kind: Kind, key: str) -> bool:
    """Tell whether any job of a key is not final."""
    return _live[kind].row(connection, key) is not None


def park_jobs(connection: Connection, parked: Iterable[tuple[Job, Kind]]) -> None:
    """Have jobs that this transaction has locked wait for room under a limit."""
    _park.run_many(connection, [(job.id, job.state_name, WAITS[kind]) for job, kind in parked])


def admit_jobs(connection: Connection, admitted: Sequence[Job]) -> None:
    """Enqueue jobs that this transaction has locked and that waited for room under a limit."""
    _admit.run_many(connection, [(job.id, job.state_name) for job in admitted])
