"""Tokens, as whoever runs the server makes, changes and ends them."""

import secrets
from collections.abc import Callable
from functools import partial

import msgspec

from piecework.protocol.names import NAME_RULE, is_name
from piecework.server.errors import InvalidRequest
from piecework.server.services.stock.audit import act_by_command
from piecework.server.services.tokens.access import GRANTS, digest, show_moment
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.records import Scope
from piecework.server.store.stock import tokens
from piecework.server.store.stock.audit import store_act
from piecework.server.store.stock.quotas import Quota
from piecework.server.store.stock.tokens import Token
from piecework.text.durations import LONGEST_S

NAME_MAX = 100
LIMITED: tuple[Scope, ...] = ("submit", "invoke")
"""Scopes of tokens that can have a quota: the others do not submit, or can lift it by themselves."""
LAMBDAS_MAX = 100
COUNT_MAX = 1_000_000
PERIOD_MAX_MS = 31 * 86_400_000
SECRET_PREFIX = "pw_"  # noqa: S105  # it marks a leaked secret as ours, and is none itself
LIFE_MAX_MS = round(LONGEST_S * 1000)
"""A token that expires does so after this time at the latest."""


def create_token(
    database: Database,
    name: str,
    scope: str,
    now: int,
    *,
    expires_at: int | None = None,
    quota: Quota | None = None,
) -> str:
    """Make a token and return its secret, which nobody can learn again. From ``expires_at`` on it is refused.

    Raises InvalidRequest when the scope is unknown, the name unusable, a live token has it, the time is over or
    too far away, or no token of the scope can have the quota.
    """
    if scope not in GRANTS:
        raise InvalidRequest(f"there is no scope {scope!r}; the scopes are {', '.join(GRANTS)}")
    if not name or len(name) > NAME_MAX or not name.isprintable() or name != name.strip():
        raise InvalidRequest(f"a token's name has 1 to {NAME_MAX} printable characters, without spaces around it")
    _check_end(expires_at, now)
    quota = _check_quota(quota, scope)
    secret = _make_secret()
    database.write(
        partial(
            _add_token,
            name=name,
            scope=scope,
            sha256=digest(secret),
            now=now,
            expires_at=expires_at,
            quota=quota,
        )
    )
    return secret


def _make_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def _check_end(expires_at: int | None, now: int) -> None:
    if expires_at is None:
        return
    if expires_at <= now:
        raise InvalidRequest(f"a token cannot expire at {show_moment(expires_at)}: that is over")
    if expires_at > now + LIFE_MAX_MS:
        raise InvalidRequest(
            f"a token cannot expire at {show_moment(expires_at)}: that is more than ten years away"
        )


def _add_token(
    connection: Connection,
    *,
    name: str,
    scope: Scope,
    sha256: bytes,
    now: int,
    expires_at: int | None,
    quota: Quota | None,
) -> None:
    if _find_live(connection, name, now):
        raise InvalidRequest(f"there is a token named {name} already; revoke or rotate it, or choose another name")
    tokens.add_token(
        connection, name=name, scope=scope, sha256=sha256, now=now, expires_at=expires_at, quota=quota
    )
    detail = f"scope={scope}{_tell_expiry(expires_at)}{_tell_quota(quota)}"
    store_act(connection, act_by_command("create token", name, detail, now))


def change_token(database: Database, name: str, now: int, change: Callable[[Quota], Quota]) -> None:
    """Give a token's name another quota: within a second it counts on servers that run.

    ``change`` is given the quota that it has. Jobs that were submitted before it had one do not count. Raises
    InvalidRequest when there is no live token of the name, or none of its scope can have the quota.
    """
    database.write(partial(_change, name=name, now=now, change=change))


def _change(connection: Connection, *, name: str, now: int, change: Callable[[Quota], Quota]) -> None:
    tokens.lock_tokens(connection, name)
    token = _find_live(connection, name, now)
    if token is None:
        raise InvalidRequest(f"there is no live token named {name}")
    quota = _check_quota(change(token.quota or Quota()), token.scope)
    tokens.set_quota(connection, name, quota)
    store_act(connection, act_by_command("change token", name, _tell_quota(quota).strip() or "no quota", now))


def _check_quota(quota: Quota | None, scope: str) -> Quota | None:
    """Return a quota that holds something back, else None. Raises InvalidRequest."""
    if quota is None or quota == Quota():
        return None
    if scope not in LIMITED:
        raise InvalidRequest(
            f"a token of scope {scope} has no quota: only those of {' and '.join(LIMITED)} can have one"
        )
    names = tuple(dict.fromkeys(quota.lambdas))
    for name in names:
        if not (is_name(name) or name.isdecimal()):
            raise InvalidRequest(f"{name[:200]!r} is neither the id nor the name of a lambda: {NAME_RULE}")
    if len(names) > LAMBDAS_MAX:
        raise InvalidRequest(f"{len(names)} lambdas for one token; at most {LAMBDAS_MAX} can be named")
    if any(each is not None and not 0 < each <= COUNT_MAX for each in (quota.queued_max, quota.rate)):
        raise InvalidRequest(f"a quota has 1 to {COUNT_MAX:,} jobs; revoke a token that may submit none")
    if not 0 < quota.period_ms <= PERIOD_MAX_MS:
        raise InvalidRequest(f"the period of a rate is at most {PERIOD_MAX_MS // 86_400_000} days")
    return msgspec.structs.replace(quota, lambdas=names)


def _tell_quota(quota: Quota | None) -> str:
    return f" {shown}" if (shown := show_quota(quota)) else ""


def show_quota(quota: Quota | None) -> str:
    """Return a quota in one line; empty when there is none."""
    if quota is None:
        return ""
    parts = [f"lambdas={','.join(quota.lambdas)}"] if quota.lambdas else []
    parts += [] if quota.queued_max is None else [f"max-queued={quota.queued_max}"]
    parts += [] if quota.rate is None else [f"rate={quota.rate}/{quota.period_ms / 1000:g}s"]
    return " ".join(parts)


def _find_live(connection: Connection, name: str, now: int) -> Token | None:
    """Return the newest token of a name that is neither revoked nor expired."""
    live = [
        token
        for token in tokens.live_tokens(connection).values()
        if token.name == name and not token.has_expired(now)
    ]
    return max(live, key=lambda token: token.id, default=None)


def _tell_expiry(expires_at: int | None) -> str:
    return "" if expires_at is None else f" expires={show_moment(expires_at)}"


def rotate_token(
    database: Database, name: str, now: int, *, overlap_ms: int, expires_at: int | None = None
) -> str:
    """Make a new secret for a token's name and scope, and return it; older ones are refused after ``overlap_ms``.

    Without ``expires_at`` the new one goes on as long as the one before was made for.
    Raises InvalidRequest when there is no live token of the name, or the time is over or too far away.
    """
    _check_end(expires_at, now)
    secret = _make_secret()
    database.write(
        partial(_rotate, name=name, sha256=digest(secret), now=now, until=now + overlap_ms, expires_at=expires_at)
    )
    return secret


def _rotate(
    connection: Connection, *, name: str, sha256: bytes, now: int, until: int, expires_at: int | None
) -> None:
    tokens.lock_tokens(connection, name)
    token = _find_live(connection, name, now)
    if token is None:
        raise InvalidRequest(f"there is no live token named {name}")
    if expires_at is None and token.expires_at is not None:
        expires_at = now + token.expires_at - token.created_at
    tokens.end_tokens(connection, name, until)
    tokens.add_token(
        connection, name=name, scope=token.scope, sha256=sha256, now=now, expires_at=expires_at, quota=token.quota
    )
    detail = f"old until={show_moment(until)}{_tell_expiry(expires_at)}"
    store_act(connection, act_by_command("rotate token", name, detail, now))


def has_tokens(database: Database) -> bool:
    """Tell whether a token was ever made."""
    with database.read() as connection:
        return tokens.any_token(connection)


def list_tokens(database: Database) -> list[Token]:
    """Return all tokens, revoked and expired ones too, oldest first. Secrets are not known here."""
    with database.read() as connection:
        return tokens.list_tokens(connection)


def revoke_token(database: Database, name: str, now: int) -> None:
    """Make all tokens of a name invalid, within a second on servers that run.

    Raises InvalidRequest when there is none.
    """
    if not database.write(partial(_revoke, name=name, now=now)):
        raise InvalidRequest(f"there is no live token named {name}")


def _revoke(connection: Connection, *, name: str, now: int) -> int:
    revoked = tokens.revoke_tokens(connection, name=name, now=now)
    if revoked:
        store_act(connection, act_by_command("revoke token", name, "", now))
    return revoked
