"""Runs: those that ended well, for what is usual, and those that go on. Each read looks at a bounded number."""

from typing import NamedTuple

import msgspec
from sqlalchemy import Connection, Select, bindparam, literal_column, select, union_all

from piecework.protocol.messages import Usage
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import jobs

NEAR_MAX = 500
"""Jobs of a lambda that are looked at on each side of one, whatever their states."""
SAMPLE_MAX = 50
"""Runs that are taken of each side."""
RUNNING_MAX = 10_000
"""Running jobs that are looked at."""


class FinishedRun(NamedTuple):
    """What the last attempt of a job used that finished."""

    worker_id: int
    usage: Usage


class OpenRun(NamedTuple):
    """An attempt that goes on."""

    job_id: int
    lambda_id: int
    worker_id: int
    started_at: int


def _finished_of(near: Select[tuple[int, str, str]]) -> Select[tuple[int, str]]:
    found = near.subquery()
    return (
        select(found.c.worker_id, found.c.usage)
        .where(found.c.state == literal_column("'Finished'"))
        .where(found.c.usage.is_not(None), found.c.worker_id.is_not(None))
        .limit(literal_column(str(SAMPLE_MAX)))
    )


_of_lambda = (
    select(jobs.c.worker_id, jobs.c.state, jobs.c.usage)
    .where(jobs.c.lambda_id == bindparam("which"))
    .limit(literal_column(str(NEAR_MAX)))
)
_before = _finished_of(_of_lambda.where(jobs.c.id < bindparam("near")).order_by(jobs.c.id.desc()))
_after = _finished_of(_of_lambda.where(jobs.c.id > bindparam("near")).order_by(jobs.c.id))
# Each side with a limit of its own is a walk along the index of lambda and id.
_finished_near = Statement(union_all(select(_before.subquery()), select(_after.subquery())), "which", "near")
# A limit keeps SQLite at the index of leases, in which running jobs are alone.
_running = (
    select(jobs.c.id, jobs.c.lambda_id, jobs.c.worker_id, jobs.c.started_at)
    .where(jobs.c.state == literal_column("'Running'"))
    .order_by(jobs.c.lease_until)
    .limit(literal_column(str(RUNNING_MAX)))
    .subquery()
)
_open_since = Statement(
    select(_running)
    .where(_running.c.started_at <= bindparam("before"))
    .order_by(_running.c.started_at)
    .limit(bindparam("most")),
    "before", "most",
)  # fmt: skip
_decode = msgspec.json.Decoder(Usage).decode


def find_finished(connection: Connection, lambda_id: int, near: int) -> list[FinishedRun]:
    """Return runs of a lambda that ended well, of jobs that were submitted just before and after job ``near``.

    What is further away than ``NEAR_MAX`` jobs of the lambda is not looked at: a long queue costs no more.
    """
    rows = _finished_near.rows(connection, lambda_id, near)
    return [FinishedRun(worker_id, _decode(usage)) for worker_id, usage in rows]


def find_open(connection: Connection, before: int, most: int) -> list[OpenRun]:
    """Return runs that began at a time or earlier, milliseconds since 1970, and go on; the longest first."""
    return [OpenRun(*row) for row in _open_since.rows(connection, before, most)]
