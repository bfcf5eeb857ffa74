"""Schedule rows, and the jobs of a schedule that have not ended."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import jobs, schedules
from piecework.server.store.queue.schedules.schedule_records import Schedule

_this = schedules.c.id == bindparam("schedule")
_every = select(schedules)
# SQLite spells it in the same way. Nothing but the name can be there already.
_insert = Statement(
    postgresql.insert(schedules).on_conflict_do_nothing(), *(column.name for column in schedules.c)
)
_by_id = Statement(_every.where(_this), "schedule")
_by_name = Statement(_every.where(schedules.c.name == bindparam("called")), "called")
_page = Statement(
    _every.where(schedules.c.id < bindparam("below")).order_by(schedules.c.id.desc()).limit(bindparam("most")),
    "below", "most",
)  # fmt: skip
_lock = ByList(_every.order_by(schedules.c.id).with_for_update(), schedules.c.id)
_next_tick = Statement(select(func.min(schedules.c.next_at)).where(schedules.c.next_at.is_not(None)))
# The sum keeps SQLite from walking all schedules by their ids instead of those that are due.
_due = Statement(
    _every.where(schedules.c.next_at <= bindparam("now"), schedules.c.id > bindparam("after"))
    .order_by(schedules.c.id + 0)
    .limit(bindparam("most")),
    "now", "after", "most",
)  # fmt: skip
_after = Statement(
    _every.where(schedules.c.id > bindparam("after")).order_by(schedules.c.id).limit(bindparam("most")),
    "after", "most",
)  # fmt: skip
_move = Statement(
    update(schedules)
    .where(_this)
    .values(
        next_at=bindparam("next"),
        last_at=bindparam("at"),
        last_job_id=bindparam("job"),
        error=bindparam("why"),
    ),
    "schedule", "next", "at", "job", "why",
)  # fmt: skip
_CHANGED = (
    "cron", "every_ms", "timezone", "anchor_at", "catch_up", "overlap", "jitter_ms", "expires_ms", "spec",
    "input_id", "changed_at", "paused_at", "next_at", "error",
)  # fmt: skip
_change = Statement(
    update(schedules)
    .where(
        _this,
        schedules.c.version == bindparam("was"),
        schedules.c.next_at.is_not_distinct_from(bindparam("was_next")),
    )
    .values({name: bindparam(f"new_{name}") for name in _CHANGED} | {"version": schedules.c.version + 1}),
    "schedule", "was", "was_next", *(f"new_{name}" for name in _CHANGED),
)  # fmt: skip
_remove = Statement(delete(schedules).where(_this), "schedule")
_open_jobs = Statement(
    select(jobs.c.id)
    .where(jobs.c.schedule_id == bindparam("schedule"), jobs.c.finished_at.is_(None))
    .limit(bindparam("most")),
    "schedule", "most",
)  # fmt: skip


class Moved(NamedTuple):
    """How a schedule stands after its ticks."""

    id: int
    next_at: int | None
    last_at: int | None
    last_job_id: int | None
    error: str | None


def add_schedule(connection: Connection, new: Schedule) -> bool:
    """Store a schedule. Returns False, and stores nothing, when another has its name."""
    return _insert.run(connection, *new) == 1


def find_schedule(connection: Connection, id_: int) -> Schedule | None:
    row = _by_id.row(connection, id_)
    return Schedule(*row) if row else None


def find_by_name(connection: Connection, name: str) -> Schedule | None:
    row = _by_name.row(connection, name)
    return Schedule(*row) if row else None


def list_schedules(connection: Connection, *, before: int, limit: int) -> list[Schedule]:
    """Return schedules that are older than ``before``, newest first."""
    return list(map(Schedule._make, _page.rows(connection, before, limit)))


def find_next_tick(connection: Connection) -> int | None:
    """Return when the next schedule ticks; None when none does."""
    tick: int | None = _next_tick.value(connection)
    return tick


def list_due(connection: Connection, now: int, *, after: int, limit: int) -> list[Schedule]:
    """Return schedules that are due and have larger ids than ``after``, in their order."""
    return list(map(Schedule._make, _due.rows(connection, now, after, limit)))


def list_after(connection: Connection, after: int, limit: int) -> list[Schedule]:
    """Return schedules that have larger ids than ``after``, in their order."""
    return list(map(Schedule._make, _after.rows(connection, after, limit)))


def lock_schedules(connection: Connection, ids: Iterable[int]) -> dict[int, Schedule]:
    """Return those of the schedules that exist, by id; nobody else changes them until the transaction ends."""
    return {row[0]: Schedule._make(row) for row in _lock.rows(connection, ids)}


def move_schedules(connection: Connection, moved: Sequence[Moved]) -> None:
    """Write down how schedules stand that this transaction has locked."""
    _move.run_many(connection, moved)


def change_schedule(connection: Connection, was: Schedule, new: Schedule) -> bool:
    """Store what a person changed. Returns False when the schedule is not as it ``was``, or is gone."""
    values = new._asdict() | {"spec": new.spec_json}
    return _change.run(connection, was.id, was.version, was.next_at, *(values[name] for name in _CHANGED)) == 1


def remove_schedule(connection: Connection, id_: int) -> bool:
    """Remove a schedule; its jobs and ticks stay. Returns False when there was none."""
    return _remove.run(connection, id_) == 1


def list_open_jobs(connection: Connection, id_: int, limit: int) -> list[int]:
    """Return some of the jobs of a schedule that have not ended."""
    return [job for (job,) in _open_jobs.rows(connection, id_, limit)]
