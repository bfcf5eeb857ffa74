"""The server as a whole: what it has to do."""

from collections import Counter

from piecework.protocol.matching import offers_runtime
from piecework.protocol.messages import RuntimeStats, WorkerState
from piecework.protocol.states import JobState
from piecework.server.services.queue.figures.depths import Depths
from piecework.server.services.stock.workers import GONE_MS, Workers
from piecework.server.store.engine.database import Database
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import lanes
from piecework.server.store.stock import endings, holding, workers


def runtime_stats(database: Database, depths: Depths, now: int) -> dict[str, RuntimeStats]:
    """Return workers and jobs of each runtime that a worker offers or an unfinished job asks for."""
    enqueued = depths.read().enqueued
    with database.read() as connection:
        seen = workers.workers_seen_since(connection, now - GONE_MS)
        running = jobs.count_running_by_lane(connection)
        wanted = lanes.find_lanes(connection, enqueued.keys() | running.keys())
    ready, under_lease = Counter[str](), Counter[str]()
    for lane in wanted:
        ready[lane.runtime] += enqueued.get(lane.id, 0)
        under_lease[lane.runtime] += running.get(lane.id, 0)
    return {
        name: RuntimeStats(
            workers=sum(offers_runtime(worker.runtimes, name) for worker in seen),
            enqueued=ready[name],
            running=under_lease[name],
        )
        for name in sorted({*ready, *(name for worker in seen for name in worker.runtimes)})
    }


def find_ids(database: Database, kind: str, ends: str) -> list[int]:
    """Return ids of a kind of thing that end with these digits, newest first, a few of them."""
    with database.read() as connection:
        return endings.find_ids(connection, kind, ends)


def count_jobs(database: Database, depths: Depths) -> dict[JobState, int]:
    """Return how many jobs are enqueued, running and waiting. Final ones are too many to count each time."""
    depth = depths.read()
    with database.read() as connection:
        running = sum(jobs.count_running_by_lane(connection).values())
    return {
        JobState.ENQUEUED: sum(depth.enqueued.values()),
        JobState.RUNNING: running,
        JobState.WAITING: depth.waiting,
    }


def count_workers(database: Database, register: Workers, now: int) -> dict[WorkerState, int]:
    """Return how many of the workers that were heard of lately are busy, idle and draining."""
    with database.read() as connection:
        seen = workers.workers_seen_since(connection, now - GONE_MS)
        counts = holding.count_held_by_all(connection)
    states = Counter(register.state_of(worker._replace(running=counts.get(worker.id, 0))) for worker in seen)
    return {state: states[state] for state in (WorkerState.BUSY, WorkerState.IDLE, WorkerState.DRAINING)}
