"""Job rows and the state changes that need no lease."""

import sqlite3

import psycopg
import pytest
from rows import LAMBDA, LANE, NOW, blob, end, new_job, read_job, run_job, store_jobs
from sqlalchemy.exc import IntegrityError

from piecework.protocol.messages import Backoff, Limits
from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Database
from piecework.server.store.options import JobOptions
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.jobs.filters import JobFilter
from piecework.server.store.queue.leasing import leases
from piecework.server.store.stock import blobs

ALL = JobFilter()
INTEGRITY_ERRORS = (psycopg.IntegrityError, sqlite3.IntegrityError, IntegrityError)


def test_a_job_comes_back_as_it_was_stored(database: Database):
    options = JobOptions(
        args=("a", "b"), env={"K": "V"}, limits=Limits(timeout_s=1.5), backoff=Backoff(), max_attempts=7
    )
    store_jobs(
        database,
        new_job(
            1, state=JobState.WAITING, priority=-7, input_id=9, max_attempts=7, due_at=NOW + 5, expires_at=NOW + 9,
            key="k", key_digest=b"d" * 32, tags=("+gpu", "fast"), options=options,
        ),
    )  # fmt: skip
    job = read_job(database, 1)
    assert (job.lambda_id, job.lane_id, job.state, job.priority, job.input_id) == (LAMBDA, LANE, "Waiting", -7, 9)
    assert (job.attempt, job.max_attempts, job.vanished, job.created_at) == (0, 7, 0, NOW)
    assert (job.due_at, job.expires_at, job.key, job.key_digest) == (NOW + 5, NOW + 9, "k", b"d" * 32)
    assert (job.tags, job.options) == (("+gpu", "fast"), options)
    assert (job.lease, job.worker_id, job.output_id, job.error, job.usage, job.finished_at) == (None,) * 6


def test_jobs_are_read_with_their_outputs(database: Database):
    run_job(database, 1)
    store_jobs(database, new_job(2))
    database.write(lambda connection: blobs.add_blobs(connection, [blob(77)]))
    ended = end(1, output_id=77)
    assert database.write(lambda connection: leases.end_lease(connection, ended))
    with database.read() as connection:
        found = jobs.find_jobs_with_outputs(connection, [1, 2, 3])
    assert found == {1: (read_job(database, 1), blob(77)), 2: (read_job(database, 2), None)}


def test_a_job_without_options_has_the_defaults(database: Database):
    store_jobs(database, new_job(1))
    assert read_job(database, 1).options == JobOptions()
    assert read_job(database, 1).tags == ()


def test_finding_many_jobs_leaves_out_those_that_are_not_there(database: Database):
    store_jobs(database, new_job(1), new_job(2, state=JobState.PAUSED))
    with database.read() as connection:
        assert set(jobs.find_jobs(connection, [1, 2, 3, 1])) == {1, 2}
        assert jobs.find_states(connection, [1, 2, 3]) == {1: JobState.ENQUEUED, 2: JobState.PAUSED}
        assert jobs.find_jobs(connection, []) == {}
        assert jobs.find_job(connection, 3) is None
    assert set(database.write(lambda c: jobs.lock_jobs(c, [2, 3]))) == {2}


def test_a_key_is_taken_once(database: Database):
    store_jobs(database, new_job(1, key="k", key_digest=b"d" * 32), new_job(2), new_job(3))
    with database.read() as connection:
        assert jobs.find_by_keys(connection, ["k", "other"]) == {"k": (1, b"d" * 32)}
        assert jobs.find_by_keys(connection, []) == {}
    with pytest.raises(INTEGRITY_ERRORS):
        store_jobs(database, new_job(4, key="k", key_digest=b"e" * 32))


def test_lists_come_newest_first_and_in_pages(database: Database):
    store_jobs(database, *(new_job(id_) for id_ in range(1, 6)))
    with database.read() as connection:
        assert [job.id for job in jobs.list_jobs(connection, ALL, before=99, limit=2)] == [5, 4]
        assert [job.id for job in jobs.list_jobs(connection, ALL, before=4, limit=2)] == [3, 2]


def test_lists_show_what_fits(database: Database):
    store_jobs(database, new_job(1, tags=("a%", "b")), new_job(2, tags=("ab",)), new_job(3, state=JobState.PAUSED))
    with database.read() as connection:

        def listed(which: JobFilter) -> list[int]:
            return [job.id for job in jobs.list_jobs(connection, which, before=99, limit=9)]

        assert listed(JobFilter(states=(JobState.PAUSED,))) == [3]
        assert listed(JobFilter(lambda_=LAMBDA)) == [3, 2, 1]
        assert listed(JobFilter(lambda_=LAMBDA + 1)) == []
        assert listed(JobFilter(tag="b")) == [1]
        assert listed(JobFilter(tag="a%")) == [1]
        assert listed(JobFilter(tag="a")) == []
        assert listed(JobFilter(tag="b", states=(JobState.PAUSED,))) == []


def test_a_job_is_cancelled_once_and_loses_its_lease(database: Database):
    run_job(database, 1)
    assert database.write(lambda c: jobs.cancel_jobs(c, [1], 77)) == 1
    job = read_job(database, 1)
    assert (job.state, job.finished_at, job.lease, job.lease_until) == (JobState.CANCELLED, 77, None, None)
    assert database.write(lambda c: jobs.cancel_jobs(c, [1], 78)) == 0
    assert database.write(lambda c: jobs.cancel_jobs(c, [2], 78)) == 0


def test_cancelling_what_did_not_start_leaves_what_did(database: Database):
    run_job(database, 1)
    store_jobs(database, new_job(2, state=JobState.WAITING, due_at=5))
    assert not database.write(lambda c: jobs.cancel_unstarted(c, 1, 77))
    assert database.write(lambda c: jobs.cancel_unstarted(c, 2, 77))
    assert read_job(database, 1).state == JobState.RUNNING
    assert (read_job(database, 2).state, read_job(database, 2).due_at) == (JobState.CANCELLED, None)


def test_a_move_counts_only_from_the_state_it_names(database: Database):
    store_jobs(database, new_job(1, state=JobState.PAUSED))
    assert not database.write(lambda c: jobs.move_job(c, 1, JobState.WAITING, JobState.ENQUEUED, None))
    assert database.write(lambda c: jobs.move_job(c, 1, JobState.PAUSED, JobState.WAITING, 50))
    assert (read_job(database, 1).state, read_job(database, 1).due_at) == (JobState.WAITING, 50)


def test_the_input_changes_only_before_the_start(database: Database):
    store_jobs(database, new_job(1, state=JobState.PAUSED))
    run_job(database, 2)
    assert database.write(lambda c: jobs.set_input(c, 1, 9))
    assert not database.write(lambda c: jobs.set_input(c, 2, 9))
    assert (read_job(database, 1).input_id, read_job(database, 2).input_id) == (9, 0)


def test_unfinished_jobs_are_counted(database: Database):
    store_jobs(database, new_job(1), new_job(2), new_job(3, state=JobState.WAITING, due_at=5))
    store_jobs(database, new_job(4), lane=77)
    run_job(database, 5)
    with database.read() as connection:
        assert jobs.count_enqueued_by_lane(connection) == {LANE: 2, 77: 1}
        assert jobs.count_running_by_lane(connection) == {LANE: 1}
        assert jobs.count_waiting(connection) == 1


IMPOSSIBLE = {
    "an unknown state": ("state = 'Lost'", "ck_jobs_state"),
    "running without a lease": ("state = 'Running'", "ck_jobs_leased"),
    "a lease while enqueued": (
        "lease = 'L', lease_kind = 'fenced', lease_until = 1, worker_id = 1",
        "ck_jobs_leased",
    ),
    "final without an end": ("state = 'Finished'", "ck_jobs_final"),
    "an end while enqueued": ("finished_at = 5", "ck_jobs_final"),
    "waiting for nothing": ("state = 'Waiting'", "ck_jobs_waiting"),
    "more attempts than allowed": ("attempt = 4", "ck_jobs_attempts"),
    "less than no attempt": ("attempt = -1", "ck_jobs_attempts"),
    "less than no vanished worker": ("vanished = -1", "ck_jobs_attempts"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_an_impossible_row_cannot_be_stored(database: Database, what: str):
    store_jobs(database, new_job(1))
    change, constraint = IMPOSSIBLE[what]
    with pytest.raises(INTEGRITY_ERRORS, match=constraint):
        database.write(lambda c: c.exec_driver_sql(f"UPDATE jobs SET {change} WHERE id = 1"))
    assert read_job(database, 1).state == JobState.ENQUEUED


def test_a_job_of_an_unknown_lambda_or_lane_cannot_be_stored(database: Database):
    store_jobs(database, new_job(1))
    with pytest.raises(INTEGRITY_ERRORS):
        store_jobs(database, new_job(2, lambda_id=999))
    with pytest.raises(INTEGRITY_ERRORS):
        database.write(lambda c: jobs.add_jobs(c, [new_job(2)], [999], NOW))
