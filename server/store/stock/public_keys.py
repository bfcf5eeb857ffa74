"""The public keys that receipts are checked with: those of workers and of servers, also those of before."""

from typing import Literal, NamedTuple

from sqlalchemy import Connection, bindparam, insert, literal_column, null, select, update

from piecework.server.store.engine.statements import Statement
from piecework.server.store.engine.tables.receipts import public_keys

KeyOwnerKind = Literal["worker", "server"]
NO_OWNER = 0
"""The owner's id of a server's key."""


class SigningKeyRow(NamedTuple):
    """A public key, and whose it is."""

    id: int
    keyid: str
    owner: KeyOwnerKind
    owner_id: int
    """The worker; 0 of a server's key."""
    public_key: bytes
    first_seen: int
    replaced_at: int | None


_columns = (
    public_keys.c.id, public_keys.c.keyid, public_keys.c.owner, public_keys.c.owner_id,
    public_keys.c.public_key, public_keys.c.first_seen, public_keys.c.replaced_at,
)  # fmt: skip
_insert = Statement(insert(public_keys), "keyid", "owner", "owner_id", "public_key", "first_seen")
_mine = (
    public_keys.c.keyid == bindparam("name"),
    public_keys.c.owner == bindparam("kind"),
    public_keys.c.owner_id == bindparam("whose"),
)
_one = Statement(select(*_columns).where(*_mine), "name", "kind", "whose")
_revive = Statement(update(public_keys).where(*_mine).values(replaced_at=null()), "name", "kind", "whose")
_replace = Statement(
    update(public_keys)
    .where(
        public_keys.c.owner == literal_column("'worker'"),
        public_keys.c.owner_id == bindparam("whose"),
        public_keys.c.keyid != bindparam("name"),
        public_keys.c.replaced_at.is_(None),
    )
    .values(replaced_at=bindparam("at")),
    "whose", "name", "at",
)  # fmt: skip


def note_key(
    connection: Connection, keyid: str, owner: KeyOwnerKind, owner_id: int, public_key: bytes, now: int
) -> None:
    """Note that somebody has a key from now on; of a worker, that it has no other any more. Safe to repeat."""
    known = _one.row(connection, keyid, owner, owner_id)
    if known is None:
        _insert.run(connection, keyid, owner, owner_id, public_key, now)
    elif SigningKeyRow(*known).replaced_at is not None:
        _revive.run(connection, keyid, owner, owner_id)
    if owner == "worker":
        _replace.run(connection, owner_id, keyid, now)


def list_keys(connection: Connection, keyid: str | None, *, before: int, limit: int) -> list[SigningKeyRow]:
    """Return keys, or the entries of one, that are older than a row, newest first."""
    wanted = select(*_columns).where(public_keys.c.id < before).order_by(public_keys.c.id.desc()).limit(limit)
    if keyid is not None:
        wanted = wanted.where(public_keys.c.keyid == keyid)
    return [SigningKeyRow(*row) for row in connection.execute(wanted).all()]
