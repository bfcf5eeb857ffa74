"""Rows for tests of the store, with defaults for everything that a test does not care about."""

from typing import Any

from piecework.protocol.states import JobState
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.options import LambdaOptions
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.queue.leasing import lanes, leases
from piecework.server.store.records import Blob, Job, Lambda, LeaseEnd, LeaseGrant, NewJob, Worker
from piecework.server.store.stock import lambdas

LAMBDA, LANE = 11, 12
NOW = 1_000


def blob(id_: int, content: bytes | None = b"x", **fields: Any) -> Blob:
    defaults = {"sha256": bytes(32), "size": 1, "created_at": NOW}
    return Blob(**{"id": id_, "content": content} | defaults | fields)


def worker(id_: int, **fields: Any) -> Worker:
    defaults = {
        "name": "w", "hostname": "h", "agent_version": "1", "incarnation": "start", "runtimes": ("wasi",),
        "tags": (), "slots": 1, "draining": False, "registered_at": NOW, "seen_at": NOW, "retired_at": None,
    }  # fmt: skip
    return Worker(**{"id": id_} | defaults | fields)


def lambda_(id_: int = LAMBDA, **fields: Any) -> Lambda:
    defaults = {"codex": 0, "runtime": "wasi", "name": None, "options": LambdaOptions(), "created_at": NOW}
    return Lambda(**{"id": id_} | defaults | fields)


def new_job(id_: int, **fields: Any) -> NewJob:
    defaults = {
        "lambda_id": LAMBDA, "runtime": "wasi", "state": JobState.ENQUEUED, "priority": 0, "input_id": 0,
        "max_attempts": 3, "due_at": None, "expires_at": None, "key": None, "key_digest": None, "tags": (),
        "options": None,
    }  # fmt: skip
    return NewJob(**{"id": id_} | defaults | fields)


def grant(lease: str = "L", **fields: Any) -> LeaseGrant:
    defaults = {"kind": "fenced", "until": NOW + 100, "worker_id": 5, "incarnation": "start"}
    return LeaseGrant(**{"lease": lease} | defaults | fields)


def end(job_id: int, lease: str = "L", **fields: Any) -> LeaseEnd:
    defaults = {
        "state": JobState.FINISHED, "attempt": 1, "vanished": 0, "last_lease": lease, "finished_at": NOW + 50,
    }  # fmt: skip
    return LeaseEnd(**{"job_id": job_id, "lease": lease} | defaults | fields)


def store_jobs(database: Database, *new: NewJob, lane: int = LANE) -> None:
    """Store jobs in one lane, with the lambda and the lane that they need."""

    def store(connection: Connection) -> None:
        if not lambdas.find_lambdas(connection, {LAMBDA}):
            lambdas.add_lambda(connection, lambda_())
        lanes.ensure_lane(connection, "wasi", [f"+{lane}"] if lane != LANE else [], lambda: lane)
        jobs.add_jobs(connection, new, [lane] * len(new), NOW)

    database.write(store)


def run_job(database: Database, id_: int, **fields: Any) -> None:
    """Store a job and lease it, under lease ``L`` unless ``fields`` say otherwise."""
    store_jobs(database, new_job(id_))
    database.write(lambda c: leases.grant_leases(c, [id_], grant(**fields), NOW))


def read_job(database: Database, id_: int) -> Job:
    with database.read() as connection:
        found = jobs.find_job(connection, id_)
    assert found is not None
    return found
