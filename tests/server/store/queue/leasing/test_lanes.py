"""Lanes."""

from concurrent.futures import ThreadPoolExecutor

from rows import LANE, new_job, run_job, store_jobs

from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Database
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import lanes
from piecework.server.store.records import Lane


def test_jobs_with_the_same_runtime_and_bars_share_a_lane(database: Database):
    def ensure(runtime: str, tags: list[str], new_id: int) -> int:
        return database.write(lambda c: lanes.ensure_lane(c, runtime, tags, lambda: new_id))

    assert ensure("wasi", ["+b", "+a", "-c", "nice"], 1) == 1
    assert ensure("wasi", ["nicer", "-c", "+a", "+b"], 2) == 1
    assert ensure("wasi", ["+a", "+b"], 3) == 3
    assert ensure("python", ["+a", "+b", "-c"], 4) == 4
    with database.read() as connection:
        assert lanes.find_lanes(connection, {1}) == [Lane(1, "wasi", frozenset({"a", "b"}), frozenset({"c"}))]


def test_a_lane_that_two_make_at_once_is_one(database: Database):
    def ensure(new_id: int) -> int:
        return database.write(lambda c: lanes.ensure_lane(c, "wasi", ["+x"], lambda: new_id))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ensure, range(1, 9)))) == 1


def test_only_lanes_with_enqueued_jobs_are_claimed_from(database: Database):
    store_jobs(database, new_job(1, state=JobState.PAUSED))
    store_jobs(database, new_job(2), lane=77)
    run_job(database, 3)
    with database.read() as connection:
        assert [lane.id for lane in lanes.lanes_with_jobs(connection)] == [77]
    database.write(lambda c: jobs.move_job(c, 1, JobState.PAUSED, JobState.ENQUEUED, None))
    with database.read() as connection:
        assert {lane.id for lane in lanes.lanes_with_jobs(connection)} == {77, LANE}
