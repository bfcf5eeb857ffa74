"""What workers hold: the leases of each, as far as the worker itself is concerned."""

from sqlalchemy import Connection, bindparam, func, literal_column, select, update

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import jobs
from piecework.server.store.records import Held

_RUNNING = jobs.c.state == literal_column("'Running'")

_expire_worker = Statement(
    update(jobs)
    .where(jobs.c.worker_id == bindparam("worker"), _RUNNING, jobs.c.incarnation != bindparam("start"))
    .values(lease_until=bindparam("until")),
    "worker", "start", "until",
)  # fmt: skip
_held = Statement(select(func.count()).where(jobs.c.worker_id == bindparam("worker"), _RUNNING), "worker")
_suspects = Statement(
    select(func.count()).where(jobs.c.worker_id == bindparam("worker"), _RUNNING, jobs.c.vanished > 0), "worker"
)
_of_worker = Statement(
    select(jobs.c.id, jobs.c.lambda_id, jobs.c.started_at, jobs.c.attempt)
    .where(jobs.c.worker_id == bindparam("worker"), _RUNNING)
    .order_by(jobs.c.started_at, jobs.c.id)
    .limit(bindparam("limit")),
    "worker", "limit",
)  # fmt: skip
_held_by_all = Statement(select(jobs.c.worker_id, func.count()).where(_RUNNING).group_by(jobs.c.worker_id))


def expire_leases(connection: Connection, worker_id: int, incarnation: str, now: int) -> int:
    """End the time of a worker's leases that other starts of its process hold. Returns how many there were."""
    return _expire_worker.run(connection, worker_id, incarnation, now)


def count_held(connection: Connection, worker_id: int) -> int:
    """Return how many leases a worker holds."""
    return int(_held.value(connection, worker_id))


def count_suspects(connection: Connection, worker_id: int) -> int:
    """Return how many leases a worker holds of jobs whose worker vanished before."""
    return int(_suspects.value(connection, worker_id))


def list_held(connection: Connection, worker_id: int, limit: int) -> list[Held]:
    """Return the jobs that a worker holds, the longest held first."""
    return [Held(*row) for row in _of_worker.rows(connection, worker_id, limit)]


def count_held_by_all(connection: Connection) -> dict[int, int]:
    """Return how many leases each worker holds, by worker id."""
    return dict(_held_by_all.rows(connection))
