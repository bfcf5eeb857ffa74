"""Worker rows."""

from typing import Any

import msgspec
from sqlalchemy import Connection, Row, bindparam, insert, select, update

from server.store.records import Worker
from server.store.tables import workers

_columns = (
    workers.c.id, workers.c.name, workers.c.hostname, workers.c.agent_version, workers.c.incarnation,
    workers.c.runtimes, workers.c.tags, workers.c.slots, workers.c.draining, workers.c.registered_at,
    workers.c.seen_at, workers.c.retired_at,
)  # fmt: skip
_insert = insert(workers)
_by_id = select(*_columns).where(workers.c.id == bindparam("id"))
_page = (
    select(*_columns)
    .where(workers.c.id < bindparam("before"), workers.c.retired_at.is_(None))
    .order_by(workers.c.id.desc())
    .limit(bindparam("limit"))
)
_seen_since = select(*_columns).where(workers.c.seen_at >= bindparam("since"), workers.c.retired_at.is_(None))
_touch = update(workers).where(workers.c.id == bindparam("worker")).values(seen_at=bindparam("at"))
_start = (
    update(workers)
    .where(workers.c.id == bindparam("worker"))
    .values(incarnation=bindparam("start"), seen_at=bindparam("at"), draining=False)
)
_drain = (
    update(workers)
    .where(workers.c.id == bindparam("worker"), workers.c.retired_at.is_(None))
    .values(draining=bindparam("drain"))
)
_retire = (
    update(workers)
    .where(workers.c.id == bindparam("worker"), workers.c.retired_at.is_(None))
    .values(retired_at=bindparam("at"))
)


def add_worker(connection: Connection, new: Worker) -> None:
    connection.execute(
        _insert,
        {
            "id": new.id,
            "name": new.name,
            "hostname": new.hostname,
            "agent_version": new.agent_version,
            "incarnation": new.incarnation,
            "runtimes": msgspec.json.encode(new.runtimes).decode(),
            "tags": msgspec.json.encode(new.tags).decode(),
            "slots": new.slots,
            "draining": new.draining,
            "registered_at": new.registered_at,
            "seen_at": new.seen_at,
        },
    )


def find_worker(connection: Connection, id_: int) -> Worker | None:
    """Return the worker, also when it was retired."""
    row = connection.execute(_by_id, {"id": id_}).first()
    return _to_worker(row) if row else None


def list_workers(connection: Connection, *, before: int, limit: int) -> list[Worker]:
    """Return workers that are not retired, with ids below ``before``, newest first."""
    return [_to_worker(row) for row in connection.execute(_page, {"before": before, "limit": limit}).all()]


def workers_seen_since(connection: Connection, since: int) -> list[Worker]:
    return [_to_worker(row) for row in connection.execute(_seen_since, {"since": since}).all()]


def touch_worker(connection: Connection, id_: int, now: int) -> None:
    """Note that the worker was heard of."""
    connection.execute(_touch, {"worker": id_, "at": now})


def note_start(connection: Connection, id_: int, incarnation: str, now: int) -> None:
    """Note that the worker's process was started anew; it is no longer draining."""
    connection.execute(_start, {"worker": id_, "start": incarnation, "at": now})


def set_draining(connection: Connection, id_: int, *, draining: bool) -> bool:
    """Ask the worker to take no more jobs, or to go on. Returns False when there is none with this id."""
    return connection.execute(_drain, {"worker": id_, "drain": draining}).rowcount == 1


def retire_worker(connection: Connection, id_: int, now: int) -> bool:
    """Remove the worker from service. Returns False when there is none with this id."""
    return connection.execute(_retire, {"worker": id_, "at": now}).rowcount == 1


def _to_worker(row: Row[*tuple[Any, ...]]) -> Worker:
    values = row._asdict()
    values["runtimes"] = tuple(msgspec.json.decode(row.runtimes))
    values["tags"] = tuple(msgspec.json.decode(row.tags))
    return Worker(**values)
