"""Ids by how they end. Each id is looked at, for no index knows it: for people who type, not for the queue."""

from sqlalchemy import Connection, bindparam, select

from piecework.protocol.ids import ID_MAX
from piecework.server.store.engine.ids import age
from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import blobs, groups, jobs, lambdas, namespaces, schedules, workers
from piecework.server.store.engine.tables.webhooks import deliveries, webhooks

FOUND_MAX = 5
"""So many are told at most: more only say that the ending is too short."""
_TABLES = {
    "job": jobs, "group": groups, "lambda": lambdas, "worker": workers, "namespace": namespaces,
    "schedule": schedules,
    "webhook": webhooks,
    "delivery": deliveries,
    "data": blobs,
}  # fmt: skip
_BY_KIND = {
    kind: Statement(
        select(table.c.id)
        .where(table.c.id % bindparam("modulus") == bindparam("rest"))
        .order_by(table.c.id.desc())
        .limit(FOUND_MAX),
        "modulus", "rest",
    )
    for kind, table in _TABLES.items()
}  # fmt: skip


def find_ids(connection: Connection, kind: str, ends: str) -> list[int]:
    """Return ids of a kind of thing that end with these digits, a few at most, newest first."""
    rest = int(ends)
    if rest > ID_MAX:
        return []
    found = [id_ for (id_,) in _BY_KIND[kind].rows(connection, min(10 ** len(ends), ID_MAX), rest)]
    return sorted(found, key=age, reverse=True)
