"""Which jobs a filter means, on each database."""

from typing import Any

import pytest
from rows import LAMBDA, NOW, end, grant, lambda_, new_job, store_jobs

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.leasing import leases
from piecework.server.store.stock import lambdas

FAILED, DONE = JobState.FAILED, JobState.FINISHED


@pytest.fixture
def filled(database: Database) -> Database:
    """1 waits, 2 is paused in a group, 3 failed with a trap, 4 with a timeout, 5 finished, 6 is 4 run again."""
    store_jobs(
        database,
        new_job(1, tags=("a%", "b")),
        new_job(2, state=JobState.PAUSED, group_id=70),
        *(new_job(each) for each in (3, 4, 5)),
        new_job(6, lambda_id=LAMBDA, retry_of=4),
    )
    ends = [
        end(
            3, state=FAILED, error=JobError(kind=ErrorKind.TRAP, message='"kind":"timeout"'), finished_at=NOW + 30
        ),
        end(4, state=FAILED, error=JobError(kind=ErrorKind.TIMEOUT, message="slow"), finished_at=NOW + 40),
        end(5, finished_at=NOW + 50),
    ]

    def run(connection: Connection) -> None:
        lambdas.add_lambda(connection, lambda_(LAMBDA + 1, name="upper"))
        leases.grant_leases(connection, [3, 4, 5], grant(worker_id=8), NOW)
        leases.end_leases(connection, ends)

    database.write(run)
    return database


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({}, [6, 5, 4, 3, 2, 1]),
        ({"states": (FAILED,)}, [4, 3]),
        ({"states": (FAILED, DONE)}, [5, 4, 3]),
        ({"states": (FAILED, JobState.PAUSED)}, [4, 3, 2]),
        ({"ended": True}, [5, 4, 3]),
        ({"ended": False}, [6, 2, 1]),
        ({"states": (FAILED,), "ended": False}, []),
        ({"lambda_": LAMBDA}, [6, 5, 4, 3, 2, 1]),
        ({"lambda_": "upper"}, []),
        ({"group_id": 70}, [2]),
        ({"tag": "a%"}, [1]),
        ({"tag": "a"}, []),
        ({"tenant": ""}, [6, 5, 4, 3, 2, 1]),
        ({"tenant": "other"}, []),
        ({"worker_id": 8}, [5, 4, 3]),
        ({"kinds": (ErrorKind.TRAP,)}, [3]),
        ({"kinds": (ErrorKind.TIMEOUT, ErrorKind.LOAD)}, [4]),
        ({"since": NOW + 40}, [5, 4]),
        ({"until": NOW + 30}, [6, 3, 2, 1]),
        ({"states": (FAILED,), "since": NOW + 31}, [4]),
        ({"states": (JobState.ENQUEUED,), "until": NOW - 1}, []),
        ({"states": (FAILED,), "run_again": False}, [3]),
        ({"run_again": True}, [4]),
    ],
)
def test_a_filter_means_the_jobs_that_fit_in_everything(
    filled: Database, fields: dict[str, Any], found: list[int]
):
    with filled.read() as connection:
        listed = jobs.list_jobs(connection, JobFilter(**fields), before=99, limit=9)
    assert [job.id for job in listed] == found
