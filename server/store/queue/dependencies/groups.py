"""Groups of jobs. How many members are in which state is counted by an index, when somebody asks.

A counter in a row of its own would have every job of a group wait for the one before to be committed. So jobs
only name their group, ending one costs nothing more, and counting a million takes a third of a second of a reader.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    union_all,
    update,
)

from piecework.protocol.states import FINAL_STATES, JobState
from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import dependencies, groups, jobs
from piecework.server.store.queue.dependencies.relations import JobGroup

COLUMNS = (
    groups.c.id, groups.c.name, groups.c.submitter, groups.c.created_at, groups.c.sealed_at, groups.c.done_at,
    groups.c.state, groups.c.output_id, groups.c.on_end,
)  # fmt: skip
_LIVE: list[Any] = [literal_column(f"'{state.value}'") for state in sorted(frozenset(JobState) - FINAL_STATES)]
_UNDONE: list[Any] = [literal_column(f"'{state.value}'") for state in (JobState.FAILED, JobState.CANCELLED)]

_insert = Statement(insert(groups), "id", "name", "submitter", "created_at", "on_end")
_by_id = Statement(select(*COLUMNS).where(groups.c.id == bindparam("which")), "which")
_lock = ByList(select(*COLUMNS).order_by(groups.c.id).with_for_update(), groups.c.id)
_hold = ByList(select(*COLUMNS).order_by(groups.c.id).with_for_update(read=True), groups.c.id)
_newest = Statement(
    select(*COLUMNS).where(groups.c.name == bindparam("called")).order_by(groups.c.id.desc()).limit(1), "called"
)
_hold_newest = Statement(
    select(*COLUMNS)
    .where(groups.c.name == bindparam("called"))
    .order_by(groups.c.id.desc())
    .limit(1)
    .with_for_update(read=True),
    "called",
)
_page = Statement(
    select(*COLUMNS)
    .where(groups.c.id > bindparam("above"), groups.c.id < bindparam("below"))
    .order_by(groups.c.id.desc())
    .limit(bindparam("most")),
    "above", "below", "most",
)  # fmt: skip
_seal = Statement(
    update(groups)
    .where(groups.c.id == bindparam("which"), groups.c.sealed_at.is_(None))
    .values(sealed_at=bindparam("at")),
    "which", "at",
)  # fmt: skip
_seal_telling = Statement(
    update(groups)
    .where(groups.c.id == bindparam("which"), groups.c.done_at.is_(None))
    .values(sealed_at=func.coalesce(groups.c.sealed_at, bindparam("at")), on_end=bindparam("webhook")),
    "which", "at", "webhook",
)  # fmt: skip
_finish = Statement(
    update(groups)
    .where(groups.c.id == bindparam("which"), groups.c.done_at.is_(None))
    .values(done_at=bindparam("at"), state=bindparam("stands"), output_id=bindparam("blob")),
    "which", "at", "stands", "blob",
)  # fmt: skip
_reopen = Statement(
    update(groups)
    .where(groups.c.id == bindparam("which"), groups.c.done_at.is_not(None))
    .values(done_at=literal_column("NULL"), state=literal_column("NULL"), output_id=literal_column("NULL")),
    "which",
)


def _members_in(states: Sequence[Any]) -> Statement:
    """Return a statement that finds one member in any of some states: one look into the index for each."""
    each = (
        select(
            select(jobs.c.id)
            .where(jobs.c.group_id == bindparam("which"), jobs.c.state == state)
            .limit(1)
            .subquery()
        )
        for state in states
    )
    return Statement(union_all(*each), "which")


_live_member = _members_in(_LIVE)
_undone_member = _members_in(_UNDONE)
_counts = Statement(
    select(jobs.c.state, func.count()).where(jobs.c.group_id == bindparam("which")).group_by(jobs.c.state), "which"
)
_failures = Statement(
    select(jobs.c.id)
    .where(jobs.c.group_id == bindparam("which"), jobs.c.state == literal_column("'Fail_Execution'"))
    .order_by(jobs.c.id)
    .limit(bindparam("most")),
    "which", "most",
)  # fmt: skip
_members = Statement(
    select(jobs.c.id, jobs.c.state, jobs.c.output_id)
    .where(jobs.c.group_id == bindparam("which"), jobs.c.id > bindparam("after"))
    .order_by(jobs.c.id)
    .limit(bindparam("most")),
    "which", "after", "most",
)  # fmt: skip
_closing = Statement(
    select(groups.c.id)
    .where(groups.c.sealed_at.is_not(None), groups.c.done_at.is_(None), groups.c.id > bindparam("after"))
    .order_by(groups.c.id)
    .limit(bindparam("most")),
    "after", "most",
)  # fmt: skip
_abandoned = Statement(
    select(groups.c.id)
    .where(
        groups.c.id > bindparam("after"),
        groups.c.id < bindparam("before"),
        ~exists().where(jobs.c.group_id == groups.c.id),
        ~exists().where(
            dependencies.c.parent_id == groups.c.id, dependencies.c.state != literal_column("'done'")
        ),
    )
    .order_by(groups.c.id)
    .limit(bindparam("most")),
    "after", "before", "most",
)  # fmt: skip
_delete = Statement(delete(groups).where(groups.c.id == bindparam("which")), "which")
_dependants = Statement(
    select(dependencies.c.child_id, dependencies.c.name).where(dependencies.c.parent_id == bindparam("which")),
    "which",
)


def add_group(connection: Connection, group: JobGroup) -> None:
    _insert.run(connection, *group[:4], group.on_end)


def find_group(connection: Connection, id_: int) -> JobGroup | None:
    row = _by_id.row(connection, id_)
    return JobGroup._make(row) if row else None


def find_newest(connection: Connection, name: str) -> JobGroup | None:
    """Return the newest group of that name."""
    row = _newest.row(connection, name)
    return JobGroup._make(row) if row else None


def lock_groups(connection: Connection, ids: Iterable[int]) -> dict[int, JobGroup]:
    """Return those of the groups that exist; nobody else changes them, or joins, until the transaction ends."""
    return {row[0]: JobGroup._make(row) for row in _lock.rows(connection, ids)}


def hold_groups(connection: Connection, ids: Iterable[int]) -> dict[int, JobGroup]:
    """Return those of the groups that exist; nobody seals them until the transaction ends."""
    return {row[0]: JobGroup._make(row) for row in _hold.rows(connection, ids)}


def hold_newest(connection: Connection, name: str) -> JobGroup | None:
    """Return the newest group of that name; nobody seals it until the transaction ends."""
    row = _hold_newest.row(connection, name)
    return JobGroup._make(row) if row else None


def list_groups(connection: Connection, *, before: int, limit: int) -> list[JobGroup]:
    """Return groups that are older than ``before``, newest first."""

    def read(above: int, below: int, most: int) -> list[Any]:
        return list(_page.rows(connection, above, below, most))

    return [JobGroup._make(row) for row in read_newest(read, before, limit)]


def seal_group(connection: Connection, id_: int, now: int) -> bool:
    """Close a group to further jobs. Returns False when it was."""
    return _seal.run(connection, id_, now) == 1


def seal_group_telling(connection: Connection, id_: int, now: int, webhook: str) -> bool:
    """Close a group to further jobs, and have a webhook told once it is done. Returns False when it is done."""
    return _seal_telling.run(connection, id_, now, webhook) == 1


def finish_group(connection: Connection, id_: int, state: JobState, output_id: int | None, now: int) -> bool:
    """Note that all members of a sealed group are final. Returns False when that was noted before."""
    return _finish.run(connection, id_, now, state.value, output_id) == 1


def reopen_group(connection: Connection, id_: int) -> bool:
    """Note that members of a group are run again. Returns False when it was not done."""
    return _reopen.run(connection, id_) == 1


def has_live_members(connection: Connection, id_: int) -> bool:
    """Tell whether any job of a group is not final."""
    return _live_member.row(connection, id_) is not None


def has_undone_members(connection: Connection, id_: int) -> bool:
    """Tell whether any job of a group failed or was cancelled."""
    return _undone_member.row(connection, id_) is not None


def count_members(connection: Connection, id_: int) -> dict[JobState, int]:
    """Return how many jobs of a group are in which state."""
    return {JobState(state): count for state, count in _counts.rows(connection, id_)}


def find_failures(connection: Connection, id_: int, most: int) -> list[int]:
    """Return the jobs of a group that failed, those that were submitted first."""
    return [job for (job,) in _failures.rows(connection, id_, most)]


def list_results(
    connection: Connection, id_: int, after: int, most: int
) -> list[tuple[int, JobState, int | None]]:
    """Return a page of a group's jobs, by id, with their states and the blobs of their outputs."""
    return [(job, JobState(state), output) for job, state, output in _members.rows(connection, id_, after, most)]


def find_closing(connection: Connection, after: int, most: int) -> list[int]:
    """Return a page of the groups that are sealed and not done."""
    return [id_ for (id_,) in _closing.rows(connection, after, most)]


def find_abandoned(connection: Connection, before: int, most: int) -> list[int]:
    """Return some groups, older than the id ``before``, that have no job and for which none waits."""
    return [id_ for (id_,) in _abandoned.rows(connection, 0, before, most)]


def delete_groups(connection: Connection, ids: Iterable[int]) -> None:
    _delete.run_many(connection, [(id_,) for id_ in ids])


def find_dependants(connection: Connection, id_: int) -> list[tuple[int, str]]:
    """Return the jobs that wait for a group, each with the name under which it gets the results; empty: not."""
    return [(child, name) for child, name in _dependants.rows(connection, id_)]
