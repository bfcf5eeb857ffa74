"""Jobs as people look for them: newest first, a page at a time, and never through all that there are.

A search goes along an index and looks at so many jobs at most. So a page takes about as long with a million jobs
as with a thousand; where it found too few by then, it says from where to look further.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, literal_column, select, union_all

from piecework.protocol.ids import ID_MAX
from piecework.protocol.states import FINAL_STATES, JobState
from piecework.server.store.engine.ids import age, id_at, read_newest
from piecework.server.store.engine.statements import is_listed
from piecework.server.store.engine.tables import jobs
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.jobs import COLUMNS
from piecework.server.store.records import Job, read_job

LOOKED_AT_MAX = 5_000
"""Jobs that one search looks at."""
FITTING_MAX = 3_000
"""Jobs that are looked at to count those that fit."""
WINDOWS = (200, 1_800, LOOKED_AT_MAX - 2_000)
"""How many of them at a time: mostly, the first few have a page."""
OPEN_MAX = 5_000
"""Jobs in states that end: up to so many are all found, wherever they are."""
COUNTED_MAX = 5_000
"""Jobs are counted no further."""
AHEAD_MS = 60_000
"""Ids of many jobs that come at once are those of a later time: not as much later."""
_END_MAX = (1 << 63) - 1

Part = tuple[ColumnElement[bool], Sequence[ColumnElement[Any]]]
"""Some of the jobs, and the order of the index that has them alone."""

_OPEN_INDEXES: dict[JobState, list[Part]] = {
    JobState.ENQUEUED: [
        (jobs.c.state == literal_column("'Enqueued'"), [jobs.c.priority.desc(), jobs.c.lane_id, jobs.c.id])
    ],
    JobState.RUNNING: [(jobs.c.state == literal_column("'Running'"), [jobs.c.lease_until])],
    JobState.WAITING: [
        ((jobs.c.state == literal_column("'Waiting'")) & jobs.c.waits.is_(None), [jobs.c.due_at]),
        (jobs.c.waits == literal_column("'after'"), [jobs.c.id]),
        (jobs.c.waits == literal_column("'key'"), [jobs.c.id]),
        (jobs.c.waits == literal_column("'rate'"), [jobs.c.id]),
    ],
}
"""The partial indexes that have all jobs of a state. Nothing has the paused ones alone."""


class Spot(NamedTuple):
    """Where a search goes on: behind a job."""

    at: int
    """When it ended, in a search by the times of ends; else -1."""
    id: int


class Found(NamedTuple):
    """What a search came to."""

    jobs: list[Job]
    """Those that fit, newest first."""
    next: Spot | None
    """Where to look further; None: there are no more."""
    looked_at: int


class StateCount(NamedTuple):
    """How many jobs there are of a kind."""

    number: int
    is_all: bool
    """There are no more than that."""


def find_newest(connection: Connection, which: JobFilter, spot: Spot | None, limit: int) -> Found:
    """Return a page of jobs that fit: those that ended last, or else those that were submitted last, first."""
    found: list[Job] = []
    looked = 0
    stretch = _choose(connection, which)
    for window in WINDOWS:
        places = stretch(spot, window)
        if fits := _narrow(connection, which, [each.id for each in places], select(*COLUMNS)):
            by_id = {row.id: read_job(tuple(row)) for row in fits}
            for each in places:
                if job := by_id.get(each.id):
                    found.append(job)
                    if len(found) == limit:
                        last = each == places[-1] and len(places) < window
                        return Found(found, None if last else each, looked + len(places))
        looked += len(places)
        if len(places) < window:
            return Found(found, None, looked)
        spot = places[-1]
    return Found(found, spot, looked)


def count_by_state(connection: Connection, which: JobFilter) -> dict[JobState, StateCount]:
    """Return how many jobs fit but for their states in each: of all, or of the newest FITTING_MAX."""
    which = replace(which, states=())
    if which == JobFilter():
        return _count_all(connection)
    ids = [each.id for each in _choose(connection, which)(None, FITTING_MAX)]
    rows = _narrow(connection, which, ids, select(jobs.c.state, func.count()).group_by(jobs.c.state))
    counts = {JobState(state): count for state, count in rows}
    return {state: StateCount(counts.get(state, 0), len(ids) < FITTING_MAX) for state in JobState}


def find_candidates(connection: Connection, which: JobFilter) -> tuple[list[int], bool]:
    """Return the ids of COUNTED_MAX jobs at most that may fit, the newest, and whether no others may."""
    ids = [each.id for each in _choose(connection, which)(None, COUNTED_MAX)]
    return ids, len(ids) < COUNTED_MAX


Stretch = Callable[[Spot | None, int], list[Spot]]
"""Returns so many places at most of an index that follow one, newest first."""


def _choose(connection: Connection, which: JobFilter) -> Stretch:
    """Return the stretch of an index that has all jobs which fit, and few others."""
    if of_few := _find_few(which):
        return _by_ids(connection, which, *of_few)
    if which.states and FINAL_STATES.issuperset(which.states):
        return _by_ends(connection, which)
    if _OPEN_INDEXES.keys() >= set(which.states) and which.states:
        ids = _find_open(connection, which.states)
        if len(ids) <= OPEN_MAX:
            return lambda spot, most: list(
                islice((Spot(-1, id_) for id_ in ids if spot is None or age(id_) < age(spot.id)), most)
            )
    is_in = [jobs.c.lambda_id == which.lambda_] if isinstance(which.lambda_, int) else []
    return _by_ids(connection, which, *is_in)


def _find_few(which: JobFilter) -> list[ColumnElement[bool]]:
    """Return the condition that most restricts jobs, by an index that is ordered by their ids; or nothing."""
    if which.key is not None:
        return [jobs.c.key == which.key]
    if which.group_id is not None:
        in_states = [jobs.c.state == literal_column(f"'{each.value}'") for each in which.states]
        return [jobs.c.group_id == which.group_id, *(in_states if len(in_states) == 1 else [])]
    return [] if which.schedule_id is None else [jobs.c.schedule_id == which.schedule_id]


def _by_ids(connection: Connection, which: JobFilter, *is_in: ColumnElement[bool]) -> Stretch:
    """Go through jobs by their ids; not through those that came after the time of the filter."""
    first = ID_MAX if which.until is None else id_at(which.until + AHEAD_MS)
    statement = select(jobs.c.id).where(*is_in).order_by(jobs.c.id.desc())

    def read(above: int, below: int, most: int) -> Sequence[int]:
        page = statement.where(jobs.c.id > above, jobs.c.id < below).limit(most)
        return connection.execute(page).scalars().all()

    return lambda spot, most: [Spot(-1, id_) for id_ in read_newest(read, spot.id if spot else first, most)]


def _by_ends(connection: Connection, which: JobFilter) -> Stretch:
    """Go through jobs that are final by the times of their ends, those of several states in turn."""

    def read(spot: Spot | None, most: int) -> list[Spot]:
        at, id_ = spot or Spot(_END_MAX, ID_MAX)
        until = at if which.until is None else min(at, which.until)
        parts = [
            select(jobs.c.finished_at, jobs.c.id)
            .where(
                jobs.c.state == literal_column(f"'{state.value}'"),
                jobs.c.finished_at <= until,
                (jobs.c.finished_at < at) | (jobs.c.id < id_),
                *([] if which.since is None else [jobs.c.finished_at >= which.since]),
            )
            .order_by(jobs.c.finished_at.desc(), jobs.c.id.desc())
            .limit(most)
            for state in which.states
        ]
        found = [Spot(*row) for part in parts for row in connection.execute(part)]
        return sorted(found, reverse=True)[:most]

    return read


def _find_open(connection: Connection, states: Sequence[JobState]) -> list[int]:
    """Return the ids of jobs in states that end, newest first; of more than OPEN_MAX, some."""
    parts = [
        select(select(jobs.c.id).where(is_so).order_by(*order).limit(OPEN_MAX + 1).subquery().c.id)
        for state in states
        for is_so, order in _OPEN_INDEXES[state]
    ]
    rows = connection.execute(union_all(*parts) if len(parts) > 1 else parts[0]).scalars()
    return sorted(rows, key=age, reverse=True)


def _narrow(connection: Connection, which: JobFilter, ids: Sequence[int], statement: Any) -> Sequence[Any]:
    """Return the rows of a statement about those of some jobs that fit."""
    if not ids:
        return []
    conditions = [is_listed(connection, jobs.c.id, ids)]
    if which.states:
        conditions.append(is_among(which.states))
    rest = replace(which, states=())
    if which.key is None:  # then all of them are of the group, which has an index, too
        rest = replace(rest, group_id=None)
    return connection.execute(rest.narrow(statement).where(*conditions)).all()


def is_among(states: Sequence[JobState]) -> ColumnElement[bool]:
    """Return a condition that a job is in one of these states, for which no index is used.

    With one, SQLite would go through all jobs in them, not through the few that are listed besides.
    """
    return func.coalesce(jobs.c.state, "").in_([state.value for state in states])


def _count_all(connection: Connection) -> dict[JobState, StateCount]:
    return {state: _count_state(connection, state) for state in JobState if state in _COUNTED}


_COUNTED = (*_OPEN_INDEXES, *FINAL_STATES)


def _count_state(connection: Connection, state: JobState) -> StateCount:
    parts: Iterator[Any] = (
        select(jobs.c.id).where(is_so).order_by(*order).limit(COUNTED_MAX + 1).subquery()
        for is_so, order in _OPEN_INDEXES.get(state) or [_ended_in(state)]
    )
    count = sum(int(connection.execute(select(func.count()).select_from(part)).scalar_one()) for part in parts)
    return StateCount(min(count, COUNTED_MAX), count <= COUNTED_MAX)


def _ended_in(state: JobState) -> Part:
    is_so = (jobs.c.state == literal_column(f"'{state.value}'")) & jobs.c.finished_at.is_not(None)
    return is_so, [jobs.c.finished_at]
