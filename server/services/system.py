"""The server as a whole: what it has to do."""

from collections import Counter
from dataclasses import replace

from piecework.protocol.matching import offers_runtime
from piecework.protocol.messages import RuntimeStats, WorkerState
from piecework.protocol.states import JobState
from server.services.stock.workers import GONE_MS, Workers
from server.store.engine.database import Database
from server.store.queue import jobs, lanes
from server.store.stock import endings, holding, workers


def runtime_stats(database: Database, now: int) -> dict[str, RuntimeStats]:
    """Return workers and jobs of each runtime that a worker offers or an unfinished job asks for."""
    with database.read() as connection:
        seen = workers.workers_seen_since(connection, now - GONE_MS)
        counts = jobs.count_by_lane(connection)
        wanted = {lane.id: lane.runtime for lane in lanes.find_lanes(connection, counts)}
    by_runtime: dict[str, Counter[JobState]] = {name: Counter() for worker in seen for name in worker.runtimes}
    for lane_id, states in counts.items():
        by_runtime.setdefault(wanted[lane_id], Counter()).update(states)
    return {
        name: RuntimeStats(
            workers=sum(offers_runtime(worker.runtimes, name) for worker in seen),
            enqueued=by_runtime[name][JobState.ENQUEUED],
            running=by_runtime[name][JobState.RUNNING],
        )
        for name in sorted(by_runtime)
    }


def find_ids(database: Database, kind: str, ends: str) -> list[int]:
    """Return ids of a kind of thing that end with these digits, newest first, a few of them."""
    with database.read() as connection:
        return endings.find_ids(connection, kind, ends)


def count_jobs(database: Database) -> dict[JobState, int]:
    """Return how many jobs are enqueued, running and waiting. Final ones are too many to count each time."""
    with database.read() as connection:
        by_lane = jobs.count_by_lane(connection).values()
        waiting = jobs.count_waiting(connection)
    total = sum(map(Counter, by_lane), Counter[JobState]())
    return {
        JobState.ENQUEUED: total[JobState.ENQUEUED],
        JobState.RUNNING: total[JobState.RUNNING],
        JobState.WAITING: waiting,
    }


def count_workers(database: Database, register: Workers, now: int) -> dict[WorkerState, int]:
    """Return how many of the workers that were heard of lately are busy, idle and draining."""
    with database.read() as connection:
        seen = workers.workers_seen_since(connection, now - GONE_MS)
        counts = holding.count_held_by_all(connection)
    states = Counter(register.state_of(replace(worker, running=counts.get(worker.id, 0))) for worker in seen)
    return {state: states[state] for state in (WorkerState.BUSY, WorkerState.IDLE, WorkerState.DRAINING)}
