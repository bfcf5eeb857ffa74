"""The numbers of the servers that share a database: each server's ids carry its own."""

import math

from sqlalchemy import Connection, bindparam, delete, func, insert, inspect, select, text, union_all, update
from sqlalchemy.exc import IntegrityError

from piecework.server.errors import CapacityReached
from piecework.server.store.engine.ids import LOW_BITS, NEW_ID_MAX, SERVERS_MAX
from piecework.server.store.engine.tables import (
    blobs,
    groups,
    jobs,
    lambdas,
    lanes,
    namespaces,
    schedules,
    servers,
    workers,
)
from piecework.server.store.engine.tables.functions import recorded_calls, replicas

FORGOTTEN_AFTER_MS = 120_000
"""A server that was not heard of for this long has given its number up."""

_all = select(servers.c.number, servers.c.seen_at)
_forget = delete(servers).where(servers.c.number == bindparam("which"), servers.c.seen_at < bindparam("before"))
_insert = insert(servers)
_mine = (servers.c.number == bindparam("which"), servers.c.incarnation == bindparam("start"))
_touch = update(servers).where(*_mine).values(seen_at=bindparam("at"))
_release = delete(servers).where(*_mine)
_largest = union_all(
    *(
        select(func.max(table.c.id)).where(table.c.id <= NEW_ID_MAX)
        for table in (
            blobs,
            groups,
            jobs,
            lambdas,
            lanes,
            namespaces,
            recorded_calls,
            replicas,
            schedules,
            workers,
        )
    )
)


def claim_number(
    connection: Connection, incarnation: str, now: int, *, alone: bool = False, schema: str | None = None
) -> int:
    """Take the lowest free server number; the lowest of all where a server is always ``alone``.

    ``schema`` is the version that the server's program knows. Raises CapacityReached when all are taken or another
    server was quicker.
    """
    forgotten = math.inf if alone else now - FORGOTTEN_AFTER_MS
    taken = {row.number for row in connection.execute(_all) if row.seen_at >= forgotten}
    number = next((n for n in range(SERVERS_MAX) if n not in taken), None)
    if number is None:
        raise CapacityReached(f"{SERVERS_MAX} servers share this database already")
    connection.execute(_forget, {"which": number, "before": forgotten})
    try:
        connection.execute(
            _insert, {"number": number, "incarnation": incarnation, "seen_at": now, "schema": schema}
        )
    except IntegrityError as error:
        raise CapacityReached("another server is starting on this database; try again") from error
    return number


def count_servers(connection: Connection, now: int) -> int:
    """Return how many servers were heard of lately."""
    return sum(row.seen_at >= now - FORGOTTEN_AFTER_MS for row in connection.execute(_all))


def list_schemas(connection: Connection, now: int) -> list[str | None]:
    """Return the schema that each server knows that was heard of lately; None for one of before 0028.

    None starts until the transaction ends. This is for PostgreSQL, and for databases of any version.
    """
    if not inspect(connection).has_table("servers"):
        return []
    connection.execute(text("LOCK TABLE servers IN SHARE ROW EXCLUSIVE MODE"))
    known = "schema" in {column["name"] for column in inspect(connection).get_columns("servers")}
    column = "schema" if known else "NULL AS schema"
    found = text(f"SELECT {column} FROM servers WHERE seen_at >= :since")  # noqa: S608  # one of these two
    return list(connection.execute(found, {"since": now - FORGOTTEN_AFTER_MS}).scalars())


def touch_number(connection: Connection, number: int, incarnation: str, now: int) -> bool:
    """Keep the number. Returns False when another server has it now."""
    return connection.execute(_touch, {"which": number, "start": incarnation, "at": now}).rowcount == 1


def release_number(connection: Connection, number: int, incarnation: str) -> None:
    connection.execute(_release, {"which": number, "start": incarnation})


def largest_id(connection: Connection) -> int:
    """Return a number that no id in use is above, as a floor for new ids; but those of older databases are."""
    largest = max(found or 0 for found in connection.execute(_largest).scalars())
    return largest | ((1 << LOW_BITS) - 1)
