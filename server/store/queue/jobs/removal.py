"""Removing jobs that are final, with everything that belongs to them alone."""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, exists, select

from piecework.server.store.engine.ids import age
from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import dependencies, events, jobs, logs, settlings, votes
from piecework.server.store.queue.jobs import files, journals
from piecework.server.store.queue.trust import receipts
from piecework.server.store.stock import blobs
from piecework.server.store.stock.audit import count_act

CHUNK = 25
"""Jobs that are removed between two looks at the time."""

_lock_final = ByList(
    select(jobs.c.id, jobs.c.input_id, jobs.c.output_id)
    .where(jobs.c.finished_at.is_not(None), ~exists().where(settlings.c.parent_id == jobs.c.id))
    .order_by(jobs.c.id)
    .with_for_update(),
    jobs.c.id,
)
BELONGINGS = (events.c.job_id, logs.c.job_id, votes.c.job_id, dependencies.c.child_id)
"""The columns of other tables that name the job to which a row belongs: such rows go with their job."""
_deletes = tuple(
    Statement(delete(column.table).where(column == bindparam("job")), "job") for column in (*BELONGINGS, jobs.c.id)
)


class Removed(NamedTuple):
    """What a removal did."""

    ids: list[int]
    """Jobs that are gone."""
    stored: list[bytes]
    """Digests of large blobs whose rows went with them: their bytes are in the blob store still."""


def remove_jobs(
    connection: Connection, ids: Collection[int], uploads_before: int | None, is_time_up: Callable[[], bool]
) -> Removed:
    """Remove those of the jobs that are final, with all that is theirs, and blobs that nothing else uses.

    Blobs that are older than their job were uploaded, for it or for more than it: of these, unused ones go if they
    are older than the id ``uploads_before``; None: they stay. Removes some jobs at least, and leaves the others
    when ``is_time_up`` says so between two chunks; and a job of whose end not all have heard who wait for it. Safe
    to repeat.
    """
    removed = Removed([], [])
    ordered = sorted(ids)
    for begin in range(0, len(ordered), CHUNK):
        if removed.ids and is_time_up():
            break
        _remove_chunk(connection, ordered[begin : begin + CHUNK], uploads_before, removed)
    count_act(connection, len(removed.ids))
    return removed


def _remove_chunk(
    connection: Connection, ids: Sequence[int], uploads_before: int | None, removed: Removed
) -> None:
    found = _lock_final.rows(connection, ids)
    named = [(id_,) for id_, _, _ in found]
    for statement in _deletes:
        statement.run_many(connection, named)
    receipts.remove_receipts(connection, [id_ for (id_,) in named])
    used = {(id_, blob) for id_, *pair in found for blob in pair if blob}
    used |= files.remove_files(connection, [id_ for (id_,) in named])
    used |= journals.remove_journals(connection, [id_ for (id_,) in named])
    loose = {
        blob
        for id_, blob in used
        if age(blob) > age(id_) or (uploads_before is not None and age(blob) < age(uploads_before))
    }
    removed.ids.extend(id_ for (id_,) in named)
    removed.stored.extend(blobs.delete_unused(connection, loose))
