"""Keys with which all servers of a database sign, so that each knows what another one signed."""

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.dialects import postgresql

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables import signing_keys

_find = Statement(select(signing_keys.c.key).where(signing_keys.c.name == bindparam("what")), "what")
_add = Statement(postgresql.insert(signing_keys).on_conflict_do_nothing(), "name", "key")


def find_key(connection: Connection, name: str) -> bytes | None:
    """Return a key; None when there is none yet."""
    found: bytes | None = _find.value(connection, name)
    return found


def keep_key(connection: Connection, name: str, key: bytes) -> bytes:
    """Keep a new key, unless another server was first. Returns the one that counts."""
    _add.run(connection, name, key)
    found = find_key(connection, name)
    assert found is not None
    return found
