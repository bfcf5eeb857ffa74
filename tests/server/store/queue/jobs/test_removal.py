"""Removing final jobs with everything that belongs to them alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from patience import PATIENCE_S
from rows import LANE, NOW, blob, end, grant, lambda_, new_job, store_jobs

from piecework.protocol.states import JobState
from piecework.server.store.engine import tables
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.engine.ids import NEW_ID_MAX
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs, logs
from piecework.server.store.queue.jobs.removal import CHUNK, Removed, remove_jobs
from piecework.server.store.queue.leasing import leases
from piecework.server.store.records import Event, Log, NewJob
from piecework.server.store.stock import blobs, lambdas


def store_final(database: Database, id_: int, input_id: int = 0, output_id: int | None = None) -> None:
    """Store a job that is finished, with an event and a log."""
    store_jobs(database, new_job(id_, input_id=input_id))

    def finish(connection: Connection) -> None:
        leases.grant_leases(connection, [id_], grant(), NOW)
        assert leases.end_lease(connection, end(id_, output_id=output_id))
        events.add_events(connection, [Event(id_, NOW, JobState.FINISHED)])
        logs.put_log(connection, id_, Log(0, b"log", 1))

    database.write(finish)


def store_blobs(database: Database, *ids: int) -> None:
    database.write(lambda c: blobs.add_blobs(c, [blob(id_, None, sha256=bytes([id_ % 256]) * 32) for id_ in ids]))


def remove(database: Database, *ids: int, uploads_before: int = 0) -> Removed:
    return database.write(lambda c: remove_jobs(c, ids, uploads_before, lambda: False))


def rows(database: Database) -> dict[str, list[int]]:
    """Return the job ids of what is left in each table that has them, and the ids of blobs."""
    with database.read() as connection:
        columns = (tables.jobs.c.id, tables.events.c.job_id, tables.logs.c.job_id, tables.blobs.c.id)
        return {
            column.table.name: sorted(
                connection.execute(column.table.select().with_only_columns(column)).scalars()
            )
            for column in columns
        }


def test_a_final_job_goes_with_all_that_is_its_own(database: Database):
    for id_ in (10, 20):
        store_final(database, id_, input_id=id_ + 1, output_id=id_ + 2)
        store_blobs(database, id_ + 1, id_ + 2)
    removed = remove(database, 10)
    assert (removed.ids, sorted(removed.stored)) == ([10], [b"\x0b" * 32, b"\x0c" * 32])
    assert rows(database) == {"jobs": [20], "events": [20], "logs": [20], "blobs": [21, 22]}


@pytest.mark.parametrize("state", [JobState.ENQUEUED, JobState.PAUSED, JobState.RUNNING])
def test_a_job_that_is_not_final_stays(database: Database, state: JobState):
    store_jobs(database, new_job(10, state=state if state is not JobState.RUNNING else JobState.ENQUEUED))
    if state is JobState.RUNNING:
        database.write(lambda c: leases.grant_leases(c, [10], grant(), NOW))
    assert remove(database, 10, 99) == Removed([], [])
    with database.read() as connection:
        assert jobs.find_states(connection, [10]) == {10: state}


def test_removing_twice_is_no_error(database: Database):
    store_final(database, 10)
    assert [remove(database, 10).ids for _ in range(2)] == [[10], []]


@pytest.mark.parametrize(
    "user", [new_job(30, input_id=12), new_job(31, state=JobState.PAUSED, input_id=12)], ids=["enqueued", "paused"]
)
def test_a_blob_that_another_job_reads_stays(database: Database, user: NewJob):
    store_final(database, 10, output_id=12)
    store_jobs(database, user)
    store_blobs(database, 12)
    assert remove(database, 10) == Removed([10], [])
    assert rows(database)["blobs"] == [12]


def test_a_blob_that_a_final_job_was_run_with_stays_as_long_as_that(database: Database):
    store_final(database, 10, output_id=12)
    store_final(database, 11, input_id=12, output_id=13)
    store_final(database, 13, output_id=12)
    store_blobs(database, 12)
    for id_, left in ((10, [12]), (13, [12]), (11, [])):
        remove(database, id_)
        assert rows(database)["blobs"] == left


def test_the_code_of_a_lambda_stays(database: Database):
    store_final(database, 10, output_id=12)
    store_blobs(database, 12)
    database.write(lambda c: lambdas.add_lambda(c, lambda_(99, codex=12)))
    assert remove(database, 10) == Removed([10], [])
    assert rows(database)["blobs"] == [12]


def test_an_upload_that_a_job_named_stays_until_uploads_go(database: Database):
    old_id = NEW_ID_MAX + 5  # given before ids had 53 bits
    for id_, upload in ((20, 7), (40, 27), (60, old_id)):
        store_final(database, id_, input_id=upload)
    store_blobs(database, 7, 27, old_id)
    remove(database, 20, 40, uploads_before=8)
    assert rows(database)["blobs"] == [27, old_id]
    remove(database, 60)
    assert rows(database)["blobs"] == [27]


def test_the_rest_is_left_when_the_time_is_up(database: Database):
    ids = range(10, 10 + 2 * CHUNK + 5)
    for id_ in ids:
        store_final(database, id_)
    steps = [database.write(lambda c: remove_jobs(c, ids, 0, lambda: True)) for _ in range(4)]
    assert [len(step.ids) for step in steps] == [CHUNK, CHUNK, 5, 0]
    assert rows(database)["events"] == []


def test_of_those_who_remove_the_same_jobs_at_once_each_removes_others(database: Database):
    ids = range(10, 10 + 3 * CHUNK)
    for id_ in ids:
        store_final(database, id_)
    with ThreadPoolExecutor(4) as pool:
        removed = pool.map(lambda _: remove(database, *ids).ids, range(4))
    assert sorted(id_ for each in removed for id_ in each) == [*ids]


def test_a_blob_that_is_named_at_this_moment_stays(database: Database):
    store_jobs(database, new_job(1))
    store_blobs(database, 7)
    held, others = threading.Event(), threading.Event()

    def name(connection: Connection) -> None:
        assert blobs.hold_blobs(connection, [7])
        held.set()
        assert others.wait(PATIENCE_S)
        jobs.add_jobs(connection, [new_job(20, input_id=7)], [LANE], NOW)

    with ThreadPoolExecutor(2) as pool:
        naming = pool.submit(database.write, name)
        assert held.wait(PATIENCE_S)
        deleting = pool.submit(database.write, lambda c: blobs.delete_unused(c, [7]))
        others.set()
        naming.result(PATIENCE_S)
        assert deleting.result(PATIENCE_S) == []
    assert rows(database)["blobs"] == [7]
