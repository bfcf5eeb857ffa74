"""Worker rows."""

from functools import partial

import msgspec
from sqlalchemy import Connection, bindparam, insert, literal_column, null, select, update

from piecework.server.store.engine.ids import read_newest
from piecework.server.store.engine.statements import Row, Statement, to_json
from piecework.server.store.engine.tables import workers
from piecework.server.store.records import Worker

ALIKE_MAX = 20
"""Workers of one name that are looked at, those that were heard of last."""
_columns = (
    workers.c.id, workers.c.name, workers.c.hostname, workers.c.agent_version, workers.c.incarnation,
    workers.c.runtimes, workers.c.tags, workers.c.slots, workers.c.draining, workers.c.registered_at,
    workers.c.seen_at, workers.c.retired_at, workers.c.lapsed_at, workers.c.stopped_at,
    workers.c.trouble, workers.c.skew_ms, workers.c.public_key, workers.c.owner,
)  # fmt: skip
_insert = Statement(insert(workers), *(column.name for column in _columns))
_by_id = Statement(select(*_columns).where(workers.c.id == bindparam("worker")), "worker")
_page = Statement(
    select(*_columns)
    .where(
        workers.c.id > bindparam("above"),
        workers.c.id < bindparam("below"),
        workers.c.retired_at.is_(None),
        workers.c.seen_at >= bindparam("since"),
    )
    .order_by(workers.c.id.desc())
    .limit(bindparam("limit")),
    "since", "above", "below", "limit",
)  # fmt: skip
_page_of_all = Statement(
    select(*_columns)
    .where(workers.c.id > bindparam("above"), workers.c.id < bindparam("below"))
    .order_by(workers.c.id.desc())
    .limit(bindparam("limit")),
    "above", "below", "limit",
)  # fmt: skip
_by_name = Statement(
    select(*_columns)
    .where(workers.c.name == bindparam("called"), workers.c.retired_at.is_(None))
    .order_by(workers.c.seen_at.desc())
    .limit(literal_column(str(ALIKE_MAX))),
    "called",
)
_at_work = Statement(
    select(*_columns).where(
        workers.c.seen_at >= bindparam("since"), workers.c.retired_at.is_(None), workers.c.stopped_at.is_(None)
    ),
    "since",
)
_touch = Statement(
    update(workers)
    .where(workers.c.id == bindparam("worker"))
    .values(seen_at=bindparam("at"), stopped_at=null()),
    "worker", "at",
)  # fmt: skip
_start = Statement(
    update(workers)
    .where(workers.c.id == bindparam("worker"))
    .values(
        incarnation=bindparam("start"), seen_at=bindparam("at"), draining=False, stopped_at=null(), trouble=null()
    ),
    "worker", "start", "at",
)  # fmt: skip
_stop = Statement(
    update(workers)
    .where(workers.c.id == bindparam("worker"))
    .values(seen_at=bindparam("at"), stopped_at=bindparam("at")),
    "worker", "at",
)  # fmt: skip
_replace = Statement(
    update(workers)
    .where(workers.c.id == bindparam("worker"))
    .values({column.name: bindparam(f"new_{column.name}") for column in _columns[1:]}),
    "worker", *(f"new_{column.name}" for column in _columns[1:]),
)  # fmt: skip
_trouble = Statement(
    update(workers).where(workers.c.id == bindparam("worker")).values(trouble=bindparam("why")), "worker", "why"
)
_skew = Statement(
    update(workers).where(workers.c.id == bindparam("worker")).values(skew_ms=bindparam("ms")), "worker", "ms"
)
_drain = Statement(
    update(workers)
    .where(workers.c.id == bindparam("worker"), workers.c.retired_at.is_(None))
    .values(draining=bindparam("drain")),
    "worker", "drain",
)  # fmt: skip
_lapse = Statement(
    update(workers)
    .where(workers.c.id == bindparam("worker"), workers.c.incarnation == bindparam("start"))
    .values(lapsed_at=bindparam("at")),
    "worker", "start", "at",
)  # fmt: skip
_retire = Statement(
    update(workers)
    .where(workers.c.id == bindparam("worker"), workers.c.retired_at.is_(None))
    .values(retired_at=bindparam("at")),
    "worker", "at",
)  # fmt: skip


def add_worker(connection: Connection, new: Worker) -> None:
    _insert.run(connection, *_to_row(new))


def replace_worker(connection: Connection, new: Worker) -> None:
    """Store a worker in place of what was known under its id."""
    _replace.run(connection, *_to_row(new))


def find_worker(connection: Connection, id_: int) -> Worker | None:
    """Return the worker, also when it was retired."""
    row = _by_id.row(connection, id_)
    return _to_worker(row) if row else None


def find_by_name(connection: Connection, name: str) -> list[Worker]:
    """Return workers in service that have a name, the one that was heard of last first. It looks at all."""
    return list(map(_to_worker, _by_name.rows(connection, name)))


def list_workers(connection: Connection, *, since: int | None, before: int, limit: int) -> list[Worker]:
    """Return workers that are older than ``before``, newest first.

    Those that are not retired and were heard of since a moment, or with None all that there ever were.
    """
    everyone = partial(_page_of_all.rows, connection)
    read = everyone if since is None else partial(_page.rows, connection, since)
    return [_to_worker(row) for row in read_newest(read, before, limit)]


def workers_seen_since(connection: Connection, since: int) -> list[Worker]:
    """Return workers that were heard of since a moment and have not ended."""
    return [_to_worker(row) for row in _at_work.rows(connection, since)]


def touch_worker(connection: Connection, id_: int, now: int) -> None:
    """Note that the worker was heard of: it works."""
    _touch.run(connection, id_, now)


def note_start(connection: Connection, id_: int, incarnation: str, now: int) -> None:
    """Note that the worker's process was started anew; it is no longer draining, and has not ended."""
    _start.run(connection, id_, incarnation, now)


def note_lapse(connection: Connection, id_: int, incarnation: str, now: int) -> bool:
    """Note that a lease of the worker's process ran out. Returns False when it has a newer process."""
    return _lapse.run(connection, id_, incarnation, now) == 1


def note_stop(connection: Connection, id_: int, now: int) -> None:
    """Note that the worker's process said that it ends."""
    _stop.run(connection, id_, now)


def set_trouble(connection: Connection, id_: int, trouble: str | None) -> None:
    """Note why the worker takes no jobs now; None: it does."""
    _trouble.run(connection, id_, trouble)


def set_skew(connection: Connection, id_: int, skew_ms: int) -> None:
    """Note how far the worker's clock is ahead of the server's."""
    _skew.run(connection, id_, skew_ms)


def set_draining(connection: Connection, id_: int, *, draining: bool) -> bool:
    """Ask the worker to take no more jobs, or to go on. Returns False when there is none with this id."""
    return _drain.run(connection, id_, draining) == 1


def retire_worker(connection: Connection, id_: int, now: int) -> bool:
    """Remove the worker from service. Returns False when there is none with this id."""
    return _retire.run(connection, id_, now) == 1


def _to_row(worker: Worker) -> tuple[object, ...]:
    return (
        worker.id, worker.name, worker.hostname, worker.agent_version, worker.incarnation,
        to_json(worker.runtimes), to_json(worker.tags), worker.slots, worker.draining, worker.registered_at,
        worker.seen_at, worker.retired_at, worker.lapsed_at, worker.stopped_at,
        worker.trouble, worker.skew_ms, worker.public_key, worker.owner,
    )  # fmt: skip


def _to_worker(row: Row) -> Worker:
    id_, name, hostname, version, incarnation, runtimes, tags, slots, draining, *times = row
    offered, tagged = tuple(msgspec.json.decode(runtimes)), tuple(msgspec.json.decode(tags))
    return Worker(id_, name, hostname, version, incarnation, offered, tagged, slots, bool(draining), *times)
