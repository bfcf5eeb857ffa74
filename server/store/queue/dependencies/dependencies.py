"""Dependencies: which jobs wait for which others, and what they get of them.

Of a group that is waited for, the rows say the same as of a job: both have ids of one kind.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    select,
    tuple_,
    update,
)

from piecework.protocol.states import JobState
from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import dependencies, groups, jobs, settlings
from piecework.server.store.queue.dependencies.relations import Edge, EdgeState, Settling
from piecework.server.store.records import WaitsFor

_columns = (
    dependencies.c.child_id, dependencies.c.parent_id, dependencies.c.name, dependencies.c.state,
    dependencies.c.blob_id,
)  # fmt: skip
_OPEN = dependencies.c.state == literal_column("'open'")
_insert = Statement(insert(dependencies), *(column.name for column in _columns))
_one = (
    dependencies.c.child_id == bindparam("child"),
    dependencies.c.parent_id == bindparam("parent"),
    dependencies.c.name == bindparam("called"),
)
_set = Statement(
    update(dependencies).where(*_one).values(state=bindparam("to"), blob_id=bindparam("blob")),
    "child", "parent", "called", "to", "blob",
)  # fmt: skip
_of_parent = Statement(
    select(*_columns)
    .where(dependencies.c.parent_id == bindparam("parent"), dependencies.c.state == bindparam("stands"))
    .limit(bindparam("most")),
    "parent", "stands", "most",
)  # fmt: skip
_named_of_parent = Statement(
    select(*_columns)
    .where(
        dependencies.c.parent_id == bindparam("parent"), dependencies.c.state == bindparam("stands"),
        dependencies.c.name == bindparam("named"),
    )
    .limit(bindparam("most")),
    "parent", "stands", "named", "most",
)  # fmt: skip
_remove = Statement(
    delete(dependencies).where(
        dependencies.c.child_id == bindparam("child"), dependencies.c.parent_id == bindparam("parent"),
        dependencies.c.name == bindparam("named"),
    ),
    "child", "parent", "named",
)  # fmt: skip
_mark = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.awaited.is_(None))
    .values(awaited=literal_column("TRUE")),
    "job",
)
_with_broken = ByList(
    select(dependencies.c.parent_id).where(dependencies.c.state == literal_column("'broken'")).distinct(),
    dependencies.c.parent_id,
)
_of_children = ByList(
    select(*_columns).order_by(dependencies.c.child_id, dependencies.c.name, dependencies.c.parent_id),
    dependencies.c.child_id,
)
_open_of_child = Statement(
    select(*_columns).where(dependencies.c.child_id == bindparam("child"), _OPEN).limit(bindparam("most")),
    "child", "most",
)  # fmt: skip
_counts = ByList(
    select(dependencies.c.child_id, dependencies.c.state, func.count()).group_by(
        dependencies.c.child_id, dependencies.c.state
    ),
    dependencies.c.child_id,
)
_settle = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(
        state=bindparam("to"),
        due_at=bindparam("due"),
        waits=bindparam("for"),
        pending=bindparam("left"),
        input_id=bindparam("input"),
    ),
    "job", "was", "to", "due", "for", "left", "input",
)  # fmt: skip
_cancel = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == bindparam("was"))
    .values(
        state=literal_column("'Cancelled'"),
        due_at=null(),
        waits=null(),
        pending=bindparam("left"),
        error=bindparam("why"),
        finished_at=bindparam("at"),
    ),
    "job", "was", "left", "why", "at",
)  # fmt: skip
_revive = Statement(
    update(jobs)
    .where(jobs.c.id == bindparam("job"), jobs.c.state == literal_column("'Cancelled'"))
    .values(
        state=literal_column("'Waiting'"),
        waits=literal_column("'after'"),
        pending=bindparam("left"),
        error=null(),
        finished_at=null(),
    ),
    "job", "left",
)  # fmt: skip
_add_settling = Statement(insert(settlings), "parent_id", "state", "output_id")
_drop_settling = Statement(delete(settlings).where(settlings.c.parent_id == bindparam("parent")), "parent")
_next_settling = Statement(
    select(settlings.c.parent_id, settlings.c.state, settlings.c.output_id)
    .order_by(settlings.c.parent_id)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_has_settling = Statement(select(settlings.c.parent_id).limit(1))
_job_ends = ByList(
    select(jobs.c.id, jobs.c.state, jobs.c.output_id).order_by(jobs.c.id).with_for_update(read=True), jobs.c.id
)
_group_ends = ByList(
    select(groups.c.id, groups.c.state, groups.c.output_id).order_by(groups.c.id).with_for_update(read=True),
    groups.c.id,
)
_job_states = ByList(select(jobs.c.id, jobs.c.state, jobs.c.output_id), jobs.c.id)
_group_states = ByList(select(groups.c.id, groups.c.state, groups.c.output_id), groups.c.id)
_page = (
    select(dependencies.c.child_id, dependencies.c.parent_id, dependencies.c.state)
    .where(
        tuple_(dependencies.c.child_id, dependencies.c.parent_id)
        > tuple_(bindparam("child", type_=BigInteger), bindparam("parent", type_=BigInteger))
    )
    .order_by(dependencies.c.child_id, dependencies.c.parent_id)
    .limit(bindparam("most"))
    .subquery()
)
_look = Statement(
    select(
        _page.c.child_id,
        _page.c.parent_id,
        (_page.c.state == literal_column("'open'"))
        & exists().where(jobs.c.id == _page.c.child_id, jobs.c.finished_at.is_(None))
        & ~exists().where(jobs.c.id == _page.c.parent_id, jobs.c.finished_at.is_(None))
        & ~exists().where(groups.c.id == _page.c.parent_id, groups.c.done_at.is_(None))
        & ~exists().where(settlings.c.parent_id == _page.c.parent_id),
    ),
    "child", "parent", "most",
)  # fmt: skip


class Release(NamedTuple):
    """Where a job stands once it waits for fewer others. It was in ``was``."""

    job_id: int
    was: str
    to: str
    due_at: int | None
    waits: WaitsFor | None
    pending: int
    input_id: int


class Cancellation(NamedTuple):
    """A job that is cancelled because of another one."""

    job_id: int
    was: str
    pending: int
    error_json: str
    finished_at: int


def add_edges(connection: Connection, edges: Sequence[Edge]) -> None:
    _insert.run_many(connection, edges)


def set_edges(connection: Connection, edges: Sequence[Edge]) -> None:
    """Write how dependencies stand, and what their children get."""
    _set.run_many(connection, edges)


def find_of_parent(connection: Connection, parent_id: int, state: EdgeState, most: int) -> list[Edge]:
    """Return some of the dependencies on a job or group that stand so."""
    return [Edge._make(row) for row in _of_parent.rows(connection, parent_id, state, most)]


def find_named(connection: Connection, parent_id: int, state: EdgeState, name: str, most: int) -> list[Edge]:
    """Return some of the dependencies of a name on a job that stand so."""
    return [Edge._make(row) for row in _named_of_parent.rows(connection, parent_id, state, name, most)]


def remove_edges(connection: Connection, edges: Sequence[Edge]) -> None:
    """Forget dependencies."""
    _remove.run_many(connection, [edge[:3] for edge in edges])


def mark_awaited(connection: Connection, ids: Iterable[int]) -> None:
    """Note on jobs that others wait for them: whoever ends one tells these."""
    _mark.run_many(connection, [(id_,) for id_ in sorted(ids)])


def find_breakers(connection: Connection, ids: Iterable[int]) -> set[int]:
    """Return those of the jobs and groups because of which others are not to run."""
    return {id_ for (id_,) in _with_broken.rows(connection, ids)}


def find_of_children(connection: Connection, ids: Iterable[int]) -> list[Edge]:
    """Return all dependencies of some jobs."""
    return [Edge._make(row) for row in _of_children.rows(connection, ids)]


def find_open(connection: Connection, child_id: int, most: int) -> list[Edge]:
    """Return some of what a job still waits for."""
    return [Edge._make(row) for row in _open_of_child.rows(connection, child_id, most)]


def count_edges(connection: Connection, children: Iterable[int]) -> dict[tuple[int, EdgeState], int]:
    """Return how many dependencies of some jobs stand how, by job and state."""
    return {(child, state): count for child, state, count in _counts.rows(connection, children)}


def settle_children(connection: Connection, releases: Sequence[Release]) -> None:
    """Move jobs that this transaction has locked: they wait for fewer others, or for none."""
    _settle.run_many(connection, releases)


def cancel_children(connection: Connection, cancellations: Sequence[Cancellation]) -> None:
    """Cancel jobs that this transaction has locked, because of what they waited for."""
    _cancel.run_many(connection, cancellations)


def revive_children(connection: Connection, pending: Sequence[tuple[int, int]]) -> None:
    """Let cancelled jobs wait again, each for so many others: (job id, number)."""
    _revive.run_many(connection, pending)


def lock_ends(connection: Connection, ids: Iterable[int]) -> dict[int, Settling]:
    """Return how some jobs and groups stand, those that exist; none of them ends before this transaction does.

    A group that is not done counts as one that waits.
    """
    return _read_ends(connection, ids, _job_ends, _group_ends)


def find_ends(connection: Connection, ids: Iterable[int]) -> dict[int, Settling]:
    """Return how some jobs and groups stand now, those that exist."""
    return _read_ends(connection, ids, _job_states, _group_states)


def _read_ends(
    connection: Connection, ids: Iterable[int], of_jobs: ByList, of_groups: ByList
) -> dict[int, Settling]:
    wanted = set(ids)
    finished = JobState.FINISHED.value
    found = {
        # What a job wrote that failed is no result.
        id_: Settling(id_, state, output_id if state == finished else None)
        for id_, state, output_id in of_jobs.rows(connection, wanted)
    }
    others = wanted - found.keys()
    for id_, state, output_id in of_groups.rows(connection, others) if others else ():
        found[id_] = Settling(id_, state or JobState.WAITING.value, output_id)
    return found


def add_settlings(connection: Connection, new: Sequence[Settling]) -> None:
    """Note jobs and groups that ended, or go on: their dependants are to hear of it. The last word counts."""
    for each in new:
        _drop_settling.run(connection, each.parent_id)
    _add_settling.run_many(connection, new)


def next_settling(connection: Connection) -> Settling | None:
    """Return one whose dependants are to hear of it; nobody else gets the same before this transaction ends."""
    row = _next_settling.row(connection)
    return None if row is None else Settling._make(row)


def drop_settling(connection: Connection, parent_id: int) -> None:
    _drop_settling.run(connection, parent_id)


def has_settling(connection: Connection) -> bool:
    """Tell whether there is anything that dependants are to hear of."""
    return _has_settling.row(connection) is not None


def find_forgotten(
    connection: Connection, after: tuple[int, int], most: int
) -> tuple[list[int], tuple[int, int] | None]:
    """Look at one page of the dependencies, from after ``after`` (child, parent) on.

    Returns what is waited for there though it is final, or no longer exists, and nobody is to hear of it; and
    where the next page begins, None after the last.
    """
    rows = _look.rows(connection, *after, most)
    forgotten = [parent for _, parent, is_forgotten in rows if is_forgotten]
    return forgotten, (rows[-1][0], rows[-1][1]) if len(rows) == most else None
