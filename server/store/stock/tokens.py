"""Access tokens. Only the SHA-256 of a secret is stored."""

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, exists, insert, select, update

from piecework.server.store.engine.tables import tokens
from piecework.server.store.records import Scope

_columns = (tokens.c.id, tokens.c.name, tokens.c.scope, tokens.c.created_at, tokens.c.revoked_at)
_insert = insert(tokens)
_all = select(*_columns).order_by(tokens.c.id)
_live = select(tokens.c.sha256, *_columns).where(tokens.c.revoked_at.is_(None))
_any = select(exists().where(tokens.c.id > 0))
_revoke = (
    update(tokens)
    .where(tokens.c.name == bindparam("which"), tokens.c.revoked_at.is_(None))
    .values(revoked_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True)
class Token:
    """One access token; the secret itself is never stored."""

    id: int
    name: str
    scope: Scope
    created_at: int
    revoked_at: int | None


def add_token(connection: Connection, *, name: str, scope: Scope, sha256: bytes, now: int) -> None:
    values = {"name": name, "scope": scope, "sha256": sha256, "created_at": now}
    connection.execute(_insert, values)


def list_tokens(connection: Connection) -> list[Token]:
    """Return all tokens, revoked ones too, oldest first."""
    return [Token(*row) for row in connection.execute(_all).all()]


def live_tokens(connection: Connection) -> dict[bytes, Token]:
    """Return the tokens that are not revoked, by the SHA-256 of their secret."""
    return {row.sha256: Token(*row[1:]) for row in connection.execute(_live).all()}


def any_token(connection: Connection) -> bool:
    """Tell whether a token was ever made: from then on every request needs one."""
    return bool(connection.execute(_any).scalar())


def revoke_tokens(connection: Connection, name: str, now: int) -> int:
    """Revoke the tokens of this name. Returns how many there were."""
    return connection.execute(_revoke, {"which": name, "at": now}).rowcount
