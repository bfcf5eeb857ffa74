"""Tenants: on whose behalf jobs run. Those of one priority take turns, each by its weight."""

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, select, update

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import tenants

_insert = Statement(insert(tenants), "number", "name", "weight")
_number = Statement(select(tenants.c.number).where(tenants.c.name == bindparam("which")), "which")
_largest = Statement(select(func.max(tenants.c.number)))
_set_weight = Statement(
    update(tenants).where(tenants.c.name == bindparam("which")).values(weight=bindparam("value")),
    "which", "value",
)  # fmt: skip
_page = Statement(
    select(tenants.c.number, tenants.c.name, tenants.c.weight)
    .where(tenants.c.name > bindparam("after"))
    .order_by(tenants.c.name)
    .limit(bindparam("most")),
    "after", "most",
)  # fmt: skip


class Tenant(NamedTuple):
    """On whose behalf jobs run."""

    number: int
    name: str
    weight: int
    """How many of its jobs go in one of its turns."""


def ensure_tenant(connection: Connection, name: str) -> int:
    """Return a tenant's number, from 1 on; who has none yet gets the next.

    When another server gives that number away at the same time, the transaction is run again.
    """
    found = _number.value(connection, name)
    if found is None:
        found = (_largest.value(connection) or 0) + 1
        _insert.run(connection, found, name, 1)
    assert isinstance(found, int)
    return found


def set_weight(connection: Connection, name: str, weight: int) -> Tenant:
    """Say how many jobs of a tenant go in one of its turns. It need not have any yet."""
    number = ensure_tenant(connection, name)
    _set_weight.run(connection, name, weight)
    return Tenant(number, name, weight)


def list_tenants(connection: Connection, after: str, most: int) -> list[Tenant]:
    """Return tenants whose names come after one, by name."""
    return [Tenant(*row) for row in _page.rows(connection, after, most)]
