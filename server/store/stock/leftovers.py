"""What was needed once and is not any more: finding it in parts, in the order of ids, and removing it."""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, Select, and_, bindparam, delete, exists, literal_column, or_, select

from piecework.server.store.engine.ids import NEW_ID_MAX
from piecework.server.store.engine.statements import ByList, Statement
from piecework.server.store.engine.tables import blobs, jobs, lambdas, lanes, workers
from piecework.server.store.engine.tables.functions import hosts, replicas, revisions
from piecework.server.store.stock.blobs import is_unused


def _walk(table_id: Select[tuple[int]]) -> Select[tuple[int]]:
    [column] = table_id.selected_columns
    return table_id.where(column > bindparam("above")).order_by(column).limit(bindparam("limit"))


# Ids of uploads tell when they came; those of older databases are larger, and older.
_uploads = Statement(
    _walk(select(blobs.c.id)).where(
        or_(blobs.c.id < bindparam("before"), blobs.c.id > literal_column(str(NEW_ID_MAX)))
    ),
    "above", "limit", "before",
)  # fmt: skip
_unused_blobs = ByList(select(blobs.c.id).where(is_unused), blobs.c.id)
_lanes = Statement(_walk(select(lanes.c.id)), "above", "limit")
_empty_lanes = ByList(select(lanes.c.id).where(~exists().where(jobs.c.lane_id == lanes.c.id)), lanes.c.id)
_delete_lane = Statement(delete(lanes).where(lanes.c.id == bindparam("lane")), "lane")
_is_idle = and_(
    ~exists().where(jobs.c.worker_id == workers.c.id, jobs.c.state == literal_column("'Running'")),
    ~exists().where(replicas.c.worker_id == workers.c.id),
)
_gone = Statement(
    _walk(select(workers.c.id)).where(workers.c.seen_at < bindparam("before"), _is_idle),
    "above", "limit", "before",
)  # fmt: skip
_delete_worker = Statement(
    delete(workers).where(workers.c.id == bindparam("worker"), workers.c.seen_at < bindparam("before")),
    "worker", "before",
)  # fmt: skip
_delete_host = Statement(delete(hosts).where(hosts.c.worker_id == bindparam("worker")), "worker")
_deleted = Statement(
    select(lambdas.c.id, lambdas.c.codex)
    .where(
        lambdas.c.deleted_at < bindparam("before"),
        ~exists().where(jobs.c.lambda_id == lambdas.c.id),
        ~exists().where(revisions.c.lambda_id == lambdas.c.id),
    )
    .order_by(lambdas.c.deleted_at)
    .limit(bindparam("limit")),
    "before", "limit",
)  # fmt: skip
_delete_lambda = Statement(delete(lambdas).where(lambdas.c.id == bindparam("lambda_")), "lambda_")


def walk_uploads(connection: Connection, above: int, before: int, limit: int) -> list[int]:
    """Return the next blobs that are older than the id ``before``, used or not."""
    return [id_ for (id_,) in _uploads.rows(connection, above, limit, before)]


def find_unused(connection: Connection, blob_ids: Collection[int]) -> list[int]:
    """Return those of the blobs that nothing names."""
    return [id_ for (id_,) in _unused_blobs.rows(connection, blob_ids)]


def walk_lanes(connection: Connection, above: int, limit: int) -> list[int]:
    """Return the next lanes, empty or not."""
    return [id_ for (id_,) in _lanes.rows(connection, above, limit)]


def find_empty(connection: Connection, lane_ids: Collection[int]) -> list[int]:
    """Return those of the lanes that no job is in, not even one that ended."""
    return [id_ for (id_,) in _empty_lanes.rows(connection, lane_ids)]


def delete_lanes(connection: Connection, lane_ids: Collection[int]) -> None:
    """Remove those of the lanes that are empty still. On PostgreSQL, a job that comes at this moment undoes it."""
    _delete_lane.run_many(connection, [(id_,) for id_ in find_empty(connection, lane_ids)])


def find_gone_workers(connection: Connection, above: int, before: int, limit: int) -> list[int]:
    """Return the next workers that were not heard of since ``before``, run nothing and have no replicas."""
    return [id_ for (id_,) in _gone.rows(connection, above, limit, before)]


def delete_workers(connection: Connection, worker_ids: Sequence[int], before: int) -> None:
    """Remove workers that were not heard of since ``before``."""
    for id_ in worker_ids:
        if _delete_worker.run(connection, id_, before):
            _delete_host.run(connection, id_)


def find_deleted_lambdas(connection: Connection, before: int, limit: int) -> list[tuple[int, int]]:
    """Return (id, codex) of lambdas that were deleted before a time and that nothing refers to any more."""
    return [(id_, codex) for id_, codex in _deleted.rows(connection, before, limit)]


def delete_lambdas(connection: Connection, ids: Sequence[int]) -> None:
    _delete_lambda.run_many(connection, [(id_,) for id_ in ids])
