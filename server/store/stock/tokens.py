"""Access tokens. Only the SHA-256 of a secret is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from sqlalchemy import Connection, bindparam, delete, exists, func, insert, or_, select, update

from piecework.server.store.engine.statements import to_json
from piecework.server.store.engine.tables import tokens
from piecework.server.store.records import Scope
from piecework.server.store.stock.quotas import Quota

_columns = (
    tokens.c.id,
    tokens.c.name,
    tokens.c.scope,
    tokens.c.created_at,
    tokens.c.revoked_at,
    tokens.c.expires_at,
    tokens.c.used_at,
    tokens.c.quota,
)
_insert = insert(tokens)
_all = select(*_columns).order_by(tokens.c.id)
_live = select(tokens.c.sha256, *_columns).where(tokens.c.revoked_at.is_(None))
_any = select(exists().where(tokens.c.id > 0))
_revoke = (
    update(tokens)
    .where(tokens.c.name == bindparam("which"), tokens.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)
_lock = select(tokens.c.id).where(tokens.c.name == bindparam("which")).with_for_update()
_end = (
    update(tokens)
    .where(
        tokens.c.name == bindparam("which"),
        tokens.c.revoked_at.is_(None),
        or_(tokens.c.expires_at.is_(None), tokens.c.expires_at > bindparam("until")),
    )
    .values(expires_at=bindparam("until"))
)
_use = (
    update(tokens)
    .where(tokens.c.id == bindparam("which"), func.coalesce(tokens.c.used_at, 0) < bindparam("at"))
    .values(used_at=bindparam("at"))
)
_change = (
    update(tokens)
    .where(tokens.c.name == bindparam("which"), tokens.c.revoked_at.is_(None))
    .values(quota=bindparam("new_quota"))
)
_forget = delete(tokens).where(
    tokens.c.expires_at < bindparam("before"), tokens.c.id < select(func.max(tokens.c.id)).scalar_subquery()
)


@dataclass(frozen=True, slots=True)
class Token:
    """One access token; the secret itself is never stored."""

    id: int
    name: str
    scope: Scope
    created_at: int
    revoked_at: int | None
    expires_at: int | None
    """From then on it is refused; None: never."""
    used_at: int | None
    """When it was let in last, at most some minutes behind; None: never."""
    quota: Quota | None = None
    """What it may submit; None: all that its scope covers."""

    def has_expired(self, now: int) -> bool:
        return self.expires_at is not None and now >= self.expires_at


def add_token(
    connection: Connection,
    *,
    name: str,
    scope: Scope,
    sha256: bytes,
    now: int,
    expires_at: int | None = None,
    quota: Quota | None = None,
) -> None:
    values = {"name": name, "scope": scope, "sha256": sha256, "created_at": now, "expires_at": expires_at}
    connection.execute(_insert, values | {"quota": to_json(quota)})


def set_quota(connection: Connection, name: str, quota: Quota | None) -> None:
    """Give the tokens of this name that are not revoked another quota."""
    connection.execute(_change, {"which": name, "new_quota": to_json(quota)})


def _read(row: Sequence[Any]) -> Token:
    token = Token(*row)
    return token if row[-1] is None else replace(token, quota=msgspec.json.decode(row[-1], type=Quota))


def list_tokens(connection: Connection) -> list[Token]:
    """Return all tokens, revoked and expired ones too, oldest first."""
    return [_read(row) for row in connection.execute(_all).all()]


def live_tokens(connection: Connection) -> dict[bytes, Token]:
    """Return the tokens that are not revoked, expired ones too, by the SHA-256 of their secret."""
    return {row.sha256: _read(row[1:]) for row in connection.execute(_live).all()}


def any_token(connection: Connection) -> bool:
    """Tell whether a token was ever made: from then on every request needs one."""
    return bool(connection.execute(_any).scalar())


def revoke_tokens(connection: Connection, name: str, now: int) -> int:
    """Revoke the tokens of this name. Returns how many there were."""
    return connection.execute(_revoke, {"which": name, "at": now}).rowcount


def lock_tokens(connection: Connection, name: str) -> None:
    """Have others wait who rotate the tokens of this name, until this transaction is over."""
    connection.execute(_lock, {"which": name}).all()


def end_tokens(connection: Connection, name: str, until: int) -> None:
    """Have the tokens of this name expire then, those that would go on longer."""
    connection.execute(_end, {"which": name, "until": until})


def note_uses(connection: Connection, used: Mapping[int, int]) -> None:
    """Store when tokens, by their ids, were used; an older time than is known changes nothing."""
    connection.execute(_use, [{"which": id_, "at": at} for id_, at in sorted(used.items())])


def forget_expired(connection: Connection, before: int) -> int:
    """Remove tokens that expired before then, but the newest one: it tells that one was ever made."""
    return connection.execute(_forget, {"before": before}).rowcount
