"""Final jobs that are run again under the same id, and jobs that were made of others."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, null, select, update

from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import jobs


class Rerun(NamedTuple):
    """A final job that is run again, and as what."""

    job_id: int
    was: str
    """The state that it is in now."""
    state: str
    due_at: int | None
    waits: str | None
    max_attempts: int
    vanished: int
    expires_at: int | None
    pending: int | None
    input_id: int


_rerun = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(
        state=bindparam("to"),
        due_at=bindparam("due"),
        waits=bindparam("for"),
        max_attempts=bindparam("tries"),
        vanished=bindparam("gone"),
        expires_at=bindparam("end"),
        pending=bindparam("left"),
        input_id=bindparam("input"),
        finished_at=null(),
        output_id=null(),
        lease_kind=null(),
    ),
    "job", "was", "to", "due", "for", "tries", "gone", "end", "left", "input",
)  # fmt: skip
_made_of = ByList(
    select(jobs.c.retry_of, jobs.c.id).where(jobs.c.retry_of.is_not(None)).order_by(jobs.c.id), jobs.c.retry_of
)


def rerun_jobs(connection: Connection, reruns: Sequence[Rerun]) -> None:
    """Let jobs run again that this transaction has locked (``lock_jobs``) and found final."""
    _rerun.run_many(connection, reruns)


def find_made_of(connection: Connection, ids: Iterable[int]) -> dict[int, list[int]]:
    """Return the jobs that were made of each of these, oldest first."""
    found: dict[int, list[int]] = {}
    for of, id_ in _made_of.rows(connection, ids):
        found.setdefault(of, []).append(id_)
    return found
