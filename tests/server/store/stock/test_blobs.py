"""Blob rows."""

import pytest
from rows import blob, lambda_, new_job, store_jobs

from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Database
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.stock import blobs, lambdas

BIG = 1 << 40


def test_a_blob_comes_back_as_it_was_stored(database: Database):
    small, large, empty = blob(1, bytes(range(256)), size=256), blob(2, None, size=BIG), blob(3, b"", size=0)
    database.write(lambda c: blobs.add_blobs(c, [small, large, empty]))
    with database.read() as connection:
        assert blobs.find_blob(connection, 1) == small
        assert blobs.find_blob(connection, 4) is None
        assert blobs.find_blobs(connection, [1, 2, 3, 4]) == {1: small, 2: large, 3: empty}


def test_reading_no_blobs_at_all_gives_none(database: Database):
    with database.read() as connection:
        assert blobs.find_blobs(connection, [0]) == {}
        assert blobs.find_digests(connection, []) == {}


def test_digests_come_without_contents(database: Database):
    database.write(lambda c: blobs.add_blobs(c, [blob(1, b"abc", sha256=b"d" * 32, size=3)]))
    with database.read() as connection:
        assert blobs.find_digests(connection, [0, 1, 2]) == {1: (b"d" * 32, 3)}


def test_deleting_a_blob_says_whether_there_was_one(database: Database):
    database.write(lambda c: blobs.add_blobs(c, [blob(1)]))
    assert database.write(lambda c: blobs.delete_blob(c, 1))
    assert not database.write(lambda c: blobs.delete_blob(c, 1))


def test_a_blob_is_used_as_the_code_of_a_lambda(database: Database):
    with database.read() as connection:
        assert not blobs.is_used(connection, 1)
    database.write(lambda c: lambdas.add_lambda(c, lambda_(codex=1)))
    with database.read() as connection:
        assert blobs.is_used(connection, 1)


@pytest.mark.parametrize("state", [JobState.ENQUEUED, JobState.PAUSED])
def test_a_blob_is_used_as_the_input_of_a_job_until_that_is_final(database: Database, state: JobState):
    store_jobs(database, new_job(20, input_id=1, state=state))
    with database.read() as connection:
        assert blobs.is_used(connection, 1)
    database.write(lambda c: jobs.cancel_jobs(c, [20], 5))
    with database.read() as connection:
        assert not blobs.is_used(connection, 1)


def test_a_file_of_the_blob_store_is_needed_while_any_row_names_it(database: Database):
    digest = b"d" * 32
    rows = [blob(1, None, sha256=digest), blob(2, None, sha256=digest), blob(3, b"in the row", sha256=b"e" * 32)]
    database.write(lambda c: blobs.add_blobs(c, rows))
    database.write(lambda c: blobs.delete_blob(c, 1))
    with database.read() as connection:
        assert blobs.is_stored(connection, digest)
        assert not blobs.is_stored(connection, b"e" * 32)
    database.write(lambda c: blobs.delete_blob(c, 2))
    with database.read() as connection:
        assert not blobs.is_stored(connection, digest)
