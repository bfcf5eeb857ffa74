"""Steps of work on many jobs: which jobs each changed, so that it can be taken back."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select

from piecework.protocol.messages import BulkAction
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables.bulk import bulk_steps

_insert = Statement(insert(bulk_steps), "key", "action", "at", "job_ids")
_next = Statement(
    select(bulk_steps.c.id, bulk_steps.c.action, bulk_steps.c.at, bulk_steps.c.job_ids)
    .where(bulk_steps.c.key == bindparam("which"), bulk_steps.c.id > bindparam("after"))
    .order_by(bulk_steps.c.id)
    .limit(bindparam("most")),
    "which", "after", "most",
)  # fmt: skip
_delete = Statement(delete(bulk_steps).where(bulk_steps.c.id == bindparam("step")), "step")
_old = Statement(
    select(bulk_steps.c.id)
    .where(bulk_steps.c.at < bindparam("before"))
    .order_by(bulk_steps.c.at)
    .limit(bindparam("most")),
    "before", "most",
)  # fmt: skip


class BulkStep(NamedTuple):
    """What one transaction did to jobs."""

    id: int
    action: BulkAction
    at: int
    jobs: list[int]
    """Those that it changed, or made."""


def add_step(connection: Connection, key: str, action: BulkAction, at: int, jobs: Sequence[int]) -> None:
    _insert.run(connection, key, action, at, struct.pack(f">{len(jobs)}q", *jobs))


def find_step(connection: Connection, key: str, after: int) -> BulkStep | None:
    """Return the first step of some work behind another one; None when there is none."""
    row = _next.row(connection, key, after, 1)
    if row is None:
        return None
    id_, action, at, packed = row
    return BulkStep(id_, action, at, list(struct.unpack(f">{len(packed) // 8}q", packed)))


def remove_step(connection: Connection, id_: int) -> bool:
    """Remove a step. Returns False when it was gone already."""
    return _delete.run(connection, id_) == 1


def forget_steps(connection: Connection, before: int, most: int) -> int:
    """Remove some steps from before a time. Returns how many."""
    rows = _old.rows(connection, before, most)
    _delete.run_many(connection, rows)
    return len(rows)
