"""A walk meets all jobs that a filter means, each once, whatever is done to them on its way."""

from itertools import count
from typing import Any

import pytest
from rows import LAMBDA, NOW, end, grant, new_job, store_jobs

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import ID_MAX
from piecework.protocol.messages import JobError
from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.queue.jobs import jobs, walks
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.reruns import Rerun, rerun_jobs
from piecework.server.store.queue.jobs.walks import Position
from piecework.server.store.queue.leasing import leases

FAILED, DONE = JobState.FAILED, JobState.FINISHED
OLD_ID = (1 << 53) + 5
"""An id from before ids had 53 bits."""


@pytest.fixture
def filled(database: Database) -> Database:
    """Forty jobs, of which each third failed and each third finished, several at the same time, and an old one."""
    ids = [*range(1, 40), OLD_ID]
    store_jobs(database, *(new_job(id_, group_id=id_ % 2 or None) for id_ in ids))

    def run(connection: Connection) -> None:
        ended = [id_ for id_ in ids if id_ % 3]
        leases.grant_leases(connection, ended, grant(), NOW)
        error = {id_: JobError(kind=ErrorKind.TRAP if id_ % 2 else ErrorKind.GUEST, message="") for id_ in ids}
        leases.end_leases(
            connection,
            [
                end(id_, finished_at=NOW + 100 - id_ % 7, state=FAILED, error=error[id_])
                if id_ % 3 == 1
                else end(id_, finished_at=NOW + 100 - id_ % 7)
                for id_ in ended
            ],
        )

    database.write(run)
    return database


def walk(database: Database, which: JobFilter, limit: int) -> list[int]:
    met: list[int] = []
    place: Position | None = Position()
    for steps in count():
        assert steps < 100
        if place is None:
            return met
        with database.read() as connection:
            ids, place = walks.find_next(connection, which, place, limit)
        assert len(ids) <= limit
        met += ids
    raise AssertionError


@pytest.mark.parametrize("limit", [1, 4, 100])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"lambda_": LAMBDA},
        {"lambda_": LAMBDA, "states": (DONE, FAILED)},
        {"lambda_": LAMBDA, "states": (FAILED,), "kinds": (ErrorKind.TRAP,)},
        {"group_id": 1},
        {"group_id": 1, "states": (FAILED,)},
        {"states": (FAILED,)},
        {"states": (DONE, FAILED), "since": NOW + 95, "until": NOW + 98},
        {"states": (JobState.ENQUEUED,)},
        {"states": (JobState.ENQUEUED, FAILED)},
        {"kinds": (ErrorKind.GUEST,)},
        {"tag": "none has it"},
    ],
)
def test_a_walk_meets_each_job_that_fits_once(
    filled: Database, fields: dict[str, Any], limit: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(walks, "LOOKED_AT_MAX", 5)
    which = JobFilter(**fields)
    with filled.read() as connection:
        listed = jobs.list_jobs(connection, which, before=ID_MAX, limit=100)
    met = walk(filled, which, limit)
    assert len(met) == len(set(met))
    assert set(met) == {job.id for job in listed}


def test_what_leaves_on_the_way_does_not_lead_a_walk_astray(filled: Database):
    which, met = JobFilter(states=(FAILED,)), []
    place: Position | None = Position()
    while place is not None:
        with filled.read() as connection:
            ids, place = walks.find_next(connection, which, place, 3)
        met += ids
        again = [Rerun(id_, FAILED.value, "Enqueued", None, None, 9, 0, None, None, 0) for id_ in ids]
        filled.write(lambda connection, again=again: rerun_jobs(connection, again))
    assert sorted(met) == [id_ for id_ in (*range(1, 40), OLD_ID) if id_ % 3 == 1]


def test_a_walk_that_is_over_stays_over(filled: Database):
    with filled.read() as connection:
        assert walks.find_next(connection, JobFilter(states=(FAILED,)), Position(stage=7), 9) == ([], None)
