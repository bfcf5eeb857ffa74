"""Tick rows: what came of each time at which a schedule was due."""

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import ticks
from piecework.server.store.queue.schedules.schedule_records import Tick

# SQLite spells it in the same way.
_insert = Statement(postgresql.insert(ticks).on_conflict_do_nothing(), *Tick._fields)
_page = Statement(
    select(ticks)
    .where(ticks.c.schedule_id == bindparam("schedule"), ticks.c.id < bindparam("below"))
    .order_by(ticks.c.id.desc())
    .limit(bindparam("most")),
    "schedule", "below", "most",
)  # fmt: skip
_oldest = select(ticks.c.id).order_by(ticks.c.id).limit(bindparam("most"))
_sweep = Statement(
    delete(ticks).where(ticks.c.id.in_(_oldest.scalar_subquery()), ticks.c.noted_at < bindparam("before")),
    "most", "before",
)  # fmt: skip


def add_tick(connection: Connection, new: Tick) -> bool:
    """Store a tick: it is this transaction's. Returns False, and stores nothing, when it is another's."""
    return _insert.run(connection, *new) == 1


def list_ticks(connection: Connection, schedule_id: int, *, before: int, limit: int) -> list[tuple[int, Tick]]:
    """Return ticks of a schedule that have smaller ids than ``before``, newest first, each behind its id."""
    return [(row[0], Tick._make(row[1:])) for row in _page.rows(connection, schedule_id, before, limit)]


def sweep_ticks(connection: Connection, before: int, limit: int) -> int:
    """Delete those of the ``limit`` oldest ticks that were noted before a time. Returns how many."""
    return _sweep.run(connection, limit, before)
