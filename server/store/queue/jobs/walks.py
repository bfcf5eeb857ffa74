"""Going through all jobs that a filter means, some at a time, each once.

A walk follows the order of an index, and remembers the last job that it looked at. So what is done to jobs on the
way, and jobs that come meanwhile, do not lead it astray.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, Connection, literal_column, select

from piecework.protocol.states import FINAL_STATES, JobState
from piecework.server.store.engine.tables import jobs
from piecework.server.store.queue.jobs.filters import JobFilter

LOOKED_AT_MAX = 20_000
"""Jobs that one step of a walk looks at: few may fit."""


class Position(NamedTuple):
    """Where a walk goes on."""

    at: int = -1
    """When the job ended that was looked at last; -1: the walk goes by ids alone, or there is none."""
    id: int = -1
    """The job that was looked at last."""
    stage: int = 0
    """Which of the filter's states is gone through, in a walk by the times of ends."""


def find_next(
    connection: Connection, which: JobFilter, place: Position, limit: int
) -> tuple[list[int], Position | None]:
    """Return the ids of at most ``limit`` jobs that fit, and where to go on; None when there are no more.

    There may be none although there are more.
    """
    stages = list(_list_stages(which))
    if place.stage >= len(stages):
        return [], None
    conditions, order = stages[place.stage]
    stretch = select(jobs.c.id, jobs.c.finished_at).where(*conditions, *_after(place, order)).order_by(*order)
    bound = connection.execute(stretch.offset(LOOKED_AT_MAX - 1).limit(1)).first()
    if bound is not None:
        stretch = stretch.where(*_up_to(Position(bound.finished_at, bound.id), order))
    found = connection.execute(which.narrow(stretch).limit(limit)).all()
    if len(found) == limit:
        bound = found[-1]
    ids = [row.id for row in found]
    if bound is not None:
        return ids, Position(bound.finished_at if len(order) > 1 else -1, bound.id, place.stage)
    return ids, Position(stage=place.stage + 1) if place.stage + 1 < len(stages) else None


Stage = tuple[list[ColumnElement[bool]], list[Column[Any]]]
"""The stretch of an index, and the columns by which it is ordered."""


def _list_stages(which: JobFilter) -> Iterator[Stage]:
    """Yield the stretches of indexes that have all jobs which fit, and few others."""
    if which.group_id is not None:
        yield [jobs.c.group_id == which.group_id], [jobs.c.id]
    elif which.states and FINAL_STATES.issuperset(which.states) and not _has_fewer_of_lambda(which):
        for state in sorted(which.states):
            is_in = [jobs.c.state == literal_column(f"'{state.value}'"), jobs.c.finished_at.is_not(None)]
            times = [] if which.since is None else [jobs.c.finished_at >= which.since]
            yield [*is_in, *times], [jobs.c.finished_at, jobs.c.id]
    elif isinstance(which.lambda_, int):
        yield [jobs.c.lambda_id == which.lambda_], [jobs.c.id]
    else:
        yield [], [jobs.c.id]


def _has_fewer_of_lambda(which: JobFilter) -> bool:
    """Tell whether a lambda has fewer jobs than ended so: most jobs finish."""
    return isinstance(which.lambda_, int) and JobState.FINISHED in which.states


def _after(place: Position, order: list[Column[Any]]) -> list[ColumnElement[bool]]:
    if len(order) == 1:
        return [jobs.c.id > place.id]
    return [jobs.c.finished_at >= place.at, (jobs.c.finished_at > place.at) | (jobs.c.id > place.id)]


def _up_to(place: Position, order: list[Column[Any]]) -> list[ColumnElement[bool]]:
    if len(order) == 1:
        return [jobs.c.id <= place.id]
    return [jobs.c.finished_at <= place.at, (jobs.c.finished_at < place.at) | (jobs.c.id <= place.id)]
