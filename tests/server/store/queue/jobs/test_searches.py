"""Searches that people make: what they find, and that they look at few jobs, on each database."""

import pytest
from places import Place
from rows import LAMBDA, NOW, end, grant, lambda_, new_job, store_jobs
from sqlalchemy import event

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError
from piecework.protocol.states import FINAL_STATES, JobState
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.engine.ids import EPOCH_MS, LOW_BITS, NEW_ID_MAX, TICK_MS, id_at
from piecework.server.store.queue.jobs import searches
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.jobs.searches import Spot
from piecework.server.store.queue.leasing import leases
from piecework.server.store.records import JobOptions
from piecework.server.store.stock import lambdas

FAILED, DONE = JobState.FAILED, JobState.FINISHED
OLD = NEW_ID_MAX + 5
"""An id from before there was a limit: older than all others."""


@pytest.fixture
def filled(database: Database) -> Database:
    """1 waits, 2 is paused, 3 failed, 4 failed later, 5 finished between, 6 is enqueued, one is old."""
    database.write(lambda connection: lambdas.add_lambda(connection, lambda_(LAMBDA + 1, name="upper")))
    store_jobs(
        database,
        new_job(1, state=JobState.WAITING, due_at=NOW + 1, tags=("a",)),
        new_job(2, state=JobState.PAUSED),
        *(new_job(each) for each in (3, 4, 5)),
        new_job(
            6, lambda_id=LAMBDA + 1, options=JobOptions(args=("--Big", 'a"b'), env={"S": "hidden"}), key="key-6"
        ),
        new_job(OLD, submitter="ana"),
    )
    ends = [
        end(3, state=FAILED, error=JobError(kind=ErrorKind.TRAP, message="no Room"), finished_at=NOW + 30),
        end(4, state=FAILED, error=JobError(kind=ErrorKind.TIMEOUT, message="slow"), finished_at=NOW + 50),
        end(5, finished_at=NOW + 40),
    ]

    def run(connection: Connection) -> None:
        leases.grant_leases(connection, [3, 4, 5], grant(worker_id=8), NOW)
        leases.end_leases(connection, ends)

    database.write(run)
    return database


def find(database: Database, limit: int = 50, place: Spot | None = None, **which: object) -> list[int]:
    with database.read() as connection:
        return [job.id for job in searches.find_newest(connection, JobFilter(**which), place, limit).jobs]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ({}, [6, 5, 4, 3, 2, 1, OLD]),
        ({"states": (FAILED,)}, [4, 3]),
        ({"states": (FAILED, DONE)}, [4, 5, 3]),
        ({"states": (FAILED, JobState.ENQUEUED)}, [6, 4, 3, OLD]),
        ({"states": (JobState.ENQUEUED,)}, [6, OLD]),
        ({"states": (JobState.WAITING, JobState.ENQUEUED)}, [6, 1, OLD]),
        ({"states": (JobState.RUNNING,)}, []),
        ({"states": (JobState.PAUSED,)}, [2]),
        ({"states": (FAILED,), "since": NOW + 40}, [4]),
        ({"states": (FAILED,), "until": NOW + 40}, [3]),
        ({"lambda_": LAMBDA + 1}, [6]),
        ({"lambda_": "upper"}, [6]),
        ({"tag": "a"}, [1]),
        ({"key": "key-6"}, [6]),
        ({"key": "key-6", "group_id": 7}, []),
        ({"submitter": "ana"}, [OLD]),
        ({"text": "--big"}, [6]),
        ({"text": 'a"b'}, [6]),
        ({"text": "KEY-"}, [6]),
        ({"text": "no room"}, [3]),
        ({"text": "hidden"}, []),
        ({"text": "%"}, []),
        ({"kinds": (ErrorKind.TRAP,)}, [3]),
    ],
)
def test_a_search_finds_what_fits_in_order(filled: Database, which: dict[str, object], expected: list[int]):
    assert find(filled, **which) == expected


@pytest.mark.parametrize("which", [{}, {"states": (FAILED, DONE)}, {"states": (JobState.ENQUEUED,)}])
def test_pages_go_on_where_the_last_one_ended(filled: Database, which: dict[str, object]):
    whole, place, found = find(filled, **which), None, []
    with filled.read() as connection:
        while True:
            page = searches.find_newest(connection, JobFilter(**which), place, 1)  # type: ignore[arg-type]
            found += [job.id for job in page.jobs]
            place = page.next
            if place is None:
                break
    assert found == whole


def test_what_is_far_away_is_found_by_looking_further(filled: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(searches, "WINDOWS", (1, 2))
    with filled.read() as connection:
        first = searches.find_newest(connection, JobFilter(tag="a"), None, 10)
        assert (first.jobs, first.looked_at) == ([], 3)
        second = searches.find_newest(connection, JobFilter(tag="a"), first.next, 10)
        assert [job.id for job in second.jobs] == [1]


def test_jobs_are_counted_by_state(filled: Database, monkeypatch: pytest.MonkeyPatch):
    with filled.read() as connection:
        counts = searches.count_by_state(connection, JobFilter())
        assert {state: counts[state].number for state in counts} == {
            JobState.ENQUEUED: 2, JobState.RUNNING: 0, JobState.WAITING: 1, DONE: 1, FAILED: 2,
            JobState.CANCELLED: 0,
        }  # fmt: skip
        some = searches.count_by_state(connection, JobFilter(states=(FAILED,), lambda_=LAMBDA))
        assert (some[FAILED], some[JobState.PAUSED], some[JobState.ENQUEUED]) == ((2, True), (1, True), (1, True))
        monkeypatch.setattr(searches, "COUNTED_MAX", 1)
        assert searches.count_by_state(connection, JobFilter())[FAILED] == (1, False)


def test_a_time_leads_to_the_jobs_before_it(database: Database):
    ids = [id_at(EPOCH_MS + day * 86_400_000) + 1 for day in (1, 2, 3)]
    store_jobs(database, *map(new_job, ids))

    def set_times(connection: Connection) -> None:
        for each in ids:
            at = EPOCH_MS + (each >> LOW_BITS) * TICK_MS
            connection.exec_driver_sql(f"UPDATE jobs SET created_at={at} WHERE id={each}")

    database.write(set_times)
    assert find(database, until=EPOCH_MS + 2 * 86_400_000 + 1000) == ids[1::-1]


PLANS = [
    {}, {"tag": "x"}, {"submitter": "x"}, {"text": "x"}, {"lambda_": 5}, {"lambda_": "x"}, {"group_id": 5},
    {"schedule_id": 5}, {"key": "x"}, {"tenant": "x"}, {"worker_id": 5}, {"kinds": (ErrorKind.TRAP,)},
    *({"states": (state,)} for state in JobState), {"states": tuple(FINAL_STATES), "text": "x"},
    {"group_id": 5, "tag": "x"}, {"group_id": 5, "states": (FAILED,)},
    {"since": NOW, "until": NOW + 1000},
    {"states": (FAILED,), "since": NOW},
]  # fmt: skip


@pytest.mark.parametrize("which", PLANS, ids=str)
def test_no_search_goes_through_all_jobs(sqlite_place: Place, which: dict[str, object]):
    database = sqlite_place.open()
    plans: list[str] = []

    def explain(connection: Connection, _cursor: object, sql: str, values: object, *_: object) -> None:
        driver = connection.connection.driver_connection
        plans.extend(f"{row[3]}  {sql}" for row in driver.execute(f"EXPLAIN QUERY PLAN {sql}", values))

    event.listen(database.engine, "before_cursor_execute", explain)
    with database.read() as connection:
        searches.find_newest(connection, JobFilter(**which), None, 50)  # type: ignore[arg-type]
        searches.count_by_state(connection, JobFilter(**which))  # type: ignore[arg-type]
    database.close()
    assert plans
    for plan in plans:
        assert not plan.startswith(("SCAN jobs  ", "USE TEMP B-TREE FOR ORDER")), plan
        assert "ix_jobs_lane" not in plan.partition("  ")[0], plan
        assert "ix_jobs_group_state (group_id=?)" not in plan, plan
