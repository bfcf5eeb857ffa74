"""Many rows in one statement: every value arrives as it was given, on both databases."""

import pytest
from rows import LANE, NOW, blob, end, grant, new_job, read_job, store_jobs

from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Database
from piecework.server.store.queue.figures import events
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import leases
from piecework.server.store.records import Event
from piecework.server.store.stock import blobs

AWKWARD = [
    "", " ", "NULL", "null", "{}", "{a,b}", '"', '""', "\\", '\\"', "a,b", "'; DROP TABLE jobs; --", "%s %(x)s $1",
    "line\nbreak\ttab", "naïve 日本 \U0001f600",
]  # fmt: skip


def test_texts_of_many_rows_arrive_as_they_were_given(database: Database):
    trail = [Event(1, NOW, JobState.RUNNING, attempt=0, detail=text, lease=text[:40]) for text in AWKWARD]
    database.write(lambda c: events.add_events(c, trail))
    with database.read() as connection:
        assert events.list_events(connection, 1) == trail


def test_bytes_and_nothing_of_many_rows_arrive_as_they_were_given(database: Database):
    contents = [None, b"", b"\\x00", b"NULL", bytes(range(256)), b'"{},'] * 3
    new = [blob(id_, content, sha256=bytes([id_]) * 32) for id_, content in enumerate(contents, start=1)]
    database.write(lambda c: blobs.add_blobs(c, new))
    with database.read() as connection:
        assert list(blobs.find_blobs(connection, range(1, 99)).values()) == new


def test_the_largest_and_the_smallest_numbers_arrive(database: Database):
    ids = [1, 2**31, 2**63 - 1]
    store_jobs(database, *(new_job(id_, priority=-5, due_at=NOW if id_ == 1 else None) for id_ in ids))
    with database.read() as connection:
        found = jobs.find_jobs(connection, ids)
    assert [(job.id, job.priority, job.due_at) for job in found.values()] == [
        (1, -5, NOW), (2**31, -5, None), (2**63 - 1, -5, None)
    ]  # fmt: skip


def test_each_row_of_an_update_gets_its_own_values_and_no_other_row_changes(database: Database):
    store_jobs(database, *(new_job(id_) for id_ in range(1, 6)))
    database.write(lambda c: leases.grant_leases(c, [1, 2, 3, 4], grant("L"), NOW))
    ends = [
        end(1, "L", output_id=91),
        end(2, "another", output_id=92),
        end(3, "L", state=JobState.ENQUEUED, finished_at=None),
    ]
    database.write(lambda c: leases.end_leases(c, ends))
    found = [read_job(database, id_) for id_ in range(1, 6)]
    assert [(job.state, job.output_id) for job in found] == [
        (JobState.FINISHED, 91), (JobState.RUNNING, None), (JobState.ENQUEUED, None), (JobState.RUNNING, None),
        (JobState.ENQUEUED, None),
    ]  # fmt: skip
    assert {job.lane_id for job in found} == {LANE}


@pytest.mark.integration
def test_a_text_that_is_too_long_is_refused_and_not_cut(postgres_place):
    database = postgres_place.open()
    long = Event(1, NOW, JobState.RUNNING, attempt=0, detail="", lease="x" * 41)
    with pytest.raises(Exception, match="too long"):
        database.write(lambda c: events.add_events(c, [long]))
    database.close()


def test_a_nul_that_somebody_reported_does_not_stop_the_trail(database: Database):
    event = Event(1, NOW, JobState.RUNNING, attempt=0, detail="a\0b", lease="\0")
    database.write(lambda c: events.add_events(c, [event]))
    with database.read() as connection:
        assert events.list_events(connection, 1) == [event._replace(detail="a\ufffdb", lease="\ufffd")]
