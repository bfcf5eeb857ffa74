"""Leases: claimed in order, guarded by their token, ended once."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from places import Place
from rows import LANE, NOW, end, grant, new_job, read_job, run_job, store_jobs

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import JobError, Usage
from piecework.protocol.states import JobState
from piecework.server.store.engine.connections import LostRace
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import leases
from piecework.server.store.queue.leasing.leases import Wanted
from piecework.server.store.stock import holding


def test_candidates_of_a_lane_and_priority_come_by_age(database: Database):
    store_jobs(database, new_job(1), new_job(2, priority=5), new_job(3, priority=-5), new_job(4, priority=5))
    store_jobs(database, new_job(5, state=JobState.PAUSED), new_job(6, state=JobState.WAITING, due_at=1))
    store_jobs(database, new_job(7, priority=9), lane=77)
    run_job(database, 8)

    def find(*wanted: tuple[int, int, int, int]) -> list[int]:
        given = [Wanted(*each) for each in wanted]
        return database.write(lambda c: [job.id for job in leases.find_candidates(c, given, NOW)])

    assert find((LANE, 5, 0, 10)) == [2, 4]
    assert find((LANE, 5, 2, 10)) == [4]
    assert find((LANE, 5, 0, 1), (77, 9, 0, 1), (LANE, 0, 0, 9), (LANE, 1, 0, 9)) == [2, 7, 1]


def test_a_grant_makes_jobs_run_with_one_more_attempt(database: Database):
    store_jobs(database, new_job(1), new_job(2))
    database.write(lambda c: leases.grant_leases(c, [1], grant("L", until=NOW + 9, worker_id=5), NOW + 1))
    job = read_job(database, 1)
    assert (job.state, job.attempt, job.lease, job.lease_kind) == (JobState.RUNNING, 1, "L", "fenced")
    assert (job.lease_until, job.worker_id, job.incarnation, job.started_at) == (NOW + 9, 5, "start", NOW + 1)
    assert read_job(database, 2).state == JobState.ENQUEUED


def test_a_grant_tells_how_a_job_stands_under_it(database: Database):
    run_job(database, 1)
    error = JobError(kind=ErrorKind.TRAP, message="unreachable")
    database.write(lambda c: leases.end_lease(c, end(1, state=JobState.ENQUEUED, error=error, finished_at=None)))
    before, given = read_job(database, 1), grant("M", kind="unseen", worker_id=6)
    database.write(lambda c: leases.grant_leases(c, [1], given, NOW + 5))
    assert given.write_on(before, NOW + 5) == read_job(database, 1)
    assert before.error == error


def test_a_grant_for_a_job_that_is_no_longer_enqueued_changes_nothing(database: Database):
    run_job(database, 1)
    with suppress(LostRace):  # PostgreSQL says it like this: there, another pause may be why
        database.write(lambda c: leases.grant_leases(c, [1], grant("M", worker_id=6), NOW))
    assert (read_job(database, 1).lease, read_job(database, 1).attempt) == ("L", 1)


def test_claims_that_happen_at_once_never_share_a_job(database: Database):
    store_jobs(database, *(new_job(id_) for id_ in range(1, 61)))

    def claim(number: int) -> list[int]:
        def work(connection: Connection) -> list[int]:
            found = [job.id for job in leases.find_candidates(connection, [Wanted(LANE, 0, 0, 6)], NOW)]
            leases.grant_leases(connection, found, grant(f"L{number}"), NOW)
            return found

        return database.write(work)

    with ThreadPoolExecutor(5) as pool:
        taken = [id_ for part in pool.map(claim, range(10)) for id_ in part]
    assert sorted(taken) == list(range(1, 61))


def test_only_the_current_lease_is_renewed(database: Database):
    run_job(database, 1)
    assert database.write(lambda c: leases.renew_lease(c, 1, "L", NOW + 500))
    assert not database.write(lambda c: leases.renew_lease(c, 1, "old", NOW + 900))
    assert not database.write(lambda c: leases.renew_lease(c, 2, "L", NOW + 900))
    assert read_job(database, 1).lease_until == NOW + 500


def test_a_lease_ends_once_and_leaves_its_result(database: Database):
    run_job(database, 1)
    usage = Usage(wall_s=1.5)
    assert database.write(lambda c: leases.end_lease(c, end(1, output_id=9, usage=usage)))
    job = read_job(database, 1)
    assert (job.state, job.output_id, job.usage, job.finished_at) == (JobState.FINISHED, 9, usage, NOW + 50)
    assert (job.lease, job.lease_kind, job.lease_until, job.last_lease) == (None, None, None, "L")
    assert not database.write(lambda c: leases.end_lease(c, end(1, output_id=10)))
    assert read_job(database, 1).output_id == 9


def test_an_end_under_another_lease_changes_nothing(database: Database):
    run_job(database, 1)
    before = read_job(database, 1)
    assert not database.write(lambda c: leases.end_lease(c, end(1, "stale", output_id=9)))
    assert read_job(database, 1) == before


def test_a_failed_attempt_goes_back_with_its_error(database: Database):
    run_job(database, 1)
    error = JobError(kind=ErrorKind.TRAP, message="unreachable")
    back = end(1, state=JobState.WAITING, due_at=NOW + 70, finished_at=None, error=error)
    assert database.write(lambda c: leases.end_lease(c, back))
    job = read_job(database, 1)
    assert (job.state, job.due_at, job.error, job.finished_at) == (JobState.WAITING, NOW + 70, error, None)
    database.write(lambda c: jobs.move_job(c, 1, JobState.WAITING, JobState.ENQUEUED, None))
    database.write(lambda c: leases.grant_leases(c, [1], grant("M"), NOW))
    assert (read_job(database, 1).attempt, read_job(database, 1).error) == (2, None)


def test_many_leases_end_together(database: Database):
    for id_ in (1, 2, 3):
        run_job(database, id_, lease=f"L{id_}")

    def finish(connection: Connection) -> None:
        jobs.lock_jobs(connection, [1, 2, 3])
        leases.end_leases(connection, [end(id_, f"L{id_}", output_id=id_ * 10) for id_ in (1, 2, 3)])
        leases.end_leases(connection, [])

    database.write(finish)
    assert [read_job(database, id_).output_id for id_ in (1, 2, 3)] == [10, 20, 30]


def test_a_first_lease_is_confirmed_by_its_job_or_its_input(database: Database):
    store_jobs(database, new_job(1, input_id=8), new_job(2, input_id=8), new_job(3, input_id=8))
    database.write(lambda c: leases.grant_leases(c, [1, 2], grant("L", kind="first"), NOW))
    database.write(lambda c: leases.grant_leases(c, [3], grant("M", kind="fenced"), NOW))
    with database.read() as connection:
        assert leases.has_first_lease(connection, 8)
        assert not leases.has_first_lease(connection, 9)
    assert database.write(lambda c: leases.confirm_by_job(c, 1, NOW + 600))
    assert not database.write(lambda c: leases.confirm_by_job(c, 1, NOW + 900))
    assert database.write(lambda c: leases.confirm_by_input(c, 8, NOW + 700))
    assert not database.write(lambda c: leases.confirm_by_input(c, 8, NOW + 900))
    found = [(read_job(database, id_).lease_kind, read_job(database, id_).lease_until) for id_ in (1, 2, 3)]
    assert found == [("unfenced", NOW + 600), ("unfenced", NOW + 700), ("fenced", NOW + 100)]
    with database.read() as connection:
        assert not leases.has_first_lease(connection, 8)


def test_a_new_start_of_a_worker_ends_the_leases_of_the_one_before(database: Database):
    run_job(database, 1, lease="A", incarnation="old")
    run_job(database, 2, lease="B", incarnation="new")
    run_job(database, 3, lease="C", incarnation="old", worker_id=6)
    assert database.write(lambda c: holding.expire_leases(c, 5, "new", NOW + 1)) == 1
    assert [read_job(database, id_).lease_until for id_ in (1, 2, 3)] == [NOW + 1, NOW + 100, NOW + 100]


def test_held_leases_are_counted(database: Database):
    run_job(database, 1)
    run_job(database, 2)
    run_job(database, 3, worker_id=6)
    store_jobs(database, new_job(4))
    database.write(lambda c: leases.end_lease(c, end(2)))
    with database.read() as connection:
        assert holding.count_held(connection, 5) == 1
        assert holding.count_held(connection, 7) == 0
        assert holding.count_held_by_all(connection) == {5: 1, 6: 1}


def find_overdue(database: Database, now: int) -> list[int]:
    return sorted(job.id for job in database.write(lambda c: leases.find_overdue(c, now)))


@pytest.mark.parametrize(
    ("fields", "time"),
    [
        ({"state": JobState.WAITING, "due_at": NOW + 10}, NOW + 10),
        ({"state": JobState.ENQUEUED, "expires_at": NOW + 20}, NOW + 20),
        ({"state": JobState.PAUSED, "expires_at": NOW + 20}, NOW + 20),
        ({"state": JobState.ENQUEUED}, None),
    ],
)
def test_a_job_is_overdue_from_its_time_on(database: Database, fields: dict, time: int | None):
    store_jobs(database, new_job(1, **fields))
    with database.read() as connection:
        assert leases.find_next_time(connection) == time
    if time is None:
        assert find_overdue(database, NOW + 10_000) == []
    else:
        assert find_overdue(database, time - 1) == []
        assert find_overdue(database, time) == [1]


def test_a_lease_is_overdue_when_it_ran_out_and_a_start_ends_the_wait_to_expire(database: Database):
    store_jobs(database, new_job(1, expires_at=NOW + 20))
    database.write(lambda c: leases.grant_leases(c, [1], grant(until=NOW + 100), NOW))
    with database.read() as connection:
        assert leases.find_next_time(connection) == NOW + 100
    assert find_overdue(database, NOW + 99) == []
    assert find_overdue(database, NOW + 100) == [1]


@pytest.mark.integration
def test_an_overdue_job_that_somebody_works_on_holds_up_nobody(postgres_place: Place):
    mine, other = postgres_place.open(), postgres_place.open()
    run_job(mine, 1)
    run_job(mine, 2)

    def look_meanwhile(connection: Connection) -> list[int]:
        jobs.lock_jobs(connection, [1])
        return find_overdue(other, NOW + 10_000_000)

    assert mine.write(look_meanwhile) == [2]
    assert find_overdue(other, NOW + 10_000_000) == [1, 2]
    other.close()
    mine.close()


def test_the_next_time_is_the_earliest(database: Database):
    with database.read() as connection:
        assert leases.find_next_time(connection) is None
    run_job(database, 1)
    store_jobs(database, new_job(2, state=JobState.WAITING, due_at=NOW + 30), new_job(3, expires_at=NOW + 20))
    with database.read() as connection:
        assert leases.find_next_time(connection) == NOW + 20
