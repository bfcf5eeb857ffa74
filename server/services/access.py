"""Who may do what: access tokens, and the guard of a server that is open to its own machine."""

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Final, Literal, Protocol

from piecework.http.addresses import is_loopback
from piecework.server.errors import DatabaseAway, Forbidden, InvalidRequest, Unauthorized
from piecework.server.services.sessions import Sessions
from piecework.server.services.stock.audit import Note, act_by_command
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.records import Scope
from piecework.server.store.stock import tokens
from piecework.server.store.stock.audit import Actor, store_act
from piecework.server.store.stock.tokens import Token

GRANTS: dict[Scope, frozenset[Scope]] = {
    "view": frozenset({"view"}),
    "invoke": frozenset({"invoke"}),
    "submit": frozenset({"view", "submit", "invoke"}),
    "worker": frozenset({"worker"}),
    "operate": frozenset({"view", "submit", "invoke", "operate"}),
    "admin": frozenset({"view", "submit", "invoke", "worker", "operate", "admin"}),
}
"""What a token of each scope may do.

An endpoint names what it asks for: ``view`` to read, ``invoke`` to call functions, ``submit`` to add and cancel,
``worker`` to contract and finish, ``operate`` to drain and retire. It may name several, of which one is enough: an
upload is for those who submit and for workers. So a node's token can do a worker's part and nothing else.
"""

OPEN: Final = "open"
"""What an endpoint asks for that everyone may call, with or without a token."""
Need = Scope | Literal["open"]
"""What an endpoint asks for."""

NAME_MAX = 100
SECRET_PREFIX = "pw_"  # noqa: S105  # it marks a leaked secret as ours, and is none itself
REFRESH_MS = 1000
"""A new or revoked token counts after this time at the latest."""

HOW_TO_GET_IN = "make one with: piecework server token create NAME --scope view|invoke|submit|worker|operate|admin"


class Headers(Protocol):
    """The headers of a request; names in any case."""

    def get(self, name: str, /) -> str | None: ...


@dataclass(frozen=True, slots=True)
class _KnownTokens:
    """The tokens as they were at a time."""

    at: int
    closed: bool
    """A token was made once: nobody gets in without one."""
    live: dict[bytes, Token]


class Access:
    """Decides whether a request may go on."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        sessions: Sessions,
        *,
        open_without_tokens: bool,
        note: Note | None = None,
    ) -> None:
        """``note`` is told of what is refused."""
        self._database = database
        self._sessions = sessions
        self._clock = clock
        self._open_without_tokens = open_without_tokens
        self._note = note
        self._lock = threading.Lock()
        self._known: _KnownTokens | None = None

    def check(self, scope: Need | tuple[Scope, ...], headers: Headers) -> Token | None:
        """Let a request pass that asks for ``scope``, or for one of several; return the token that it needed.

        Raises Unauthorized without a valid token where one is needed, Forbidden when its scope does not cover the
        request, and when a web page from elsewhere sent it to a server that needs no token.
        """
        if scope == OPEN:
            return None
        known = self._tokens()
        try:
            if not known.closed and self._open_without_tokens:
                _refuse_foreign_pages(headers)
                return None
            token = self._find_token(known, headers.get("Authorization"))
        except (Unauthorized, Forbidden) as error:
            self._tell(Actor("nobody"), error, scope)
            raise
        if GRANTS[token.scope].isdisjoint((scope,) if isinstance(scope, str) else scope):
            refusal = Forbidden(
                f"the token {token.name} has scope {token.scope}, this request needs {_name(scope)}"
            )
            self._tell(Actor("token", token.name), refusal, scope)
            raise refusal
        return token

    def _tell(self, actor: Actor, error: Unauthorized | Forbidden, scope: Need | tuple[Scope, ...]) -> None:
        if self._note:
            self._note(actor, 401 if isinstance(error, Unauthorized) else 403, f"needs {_name(scope)}")

    def find_rights(self, headers: Headers) -> tuple[str | None, frozenset[Scope]]:
        """Return the name of the token that headers show, and all that they may do; None where none is needed.

        Raises like ``check``.
        """
        token = self.check("view", headers)
        return (None, GRANTS["admin"]) if token is None else (token.name, GRANTS[token.scope])

    def open_session(self, secret: str) -> str:
        """Return a text that stands for a token for a while, where its secret is not to lie about.

        ``Authorization: Session TEXT`` shows the token then, until it is revoked. Raises Unauthorized.
        """
        token = _find_token(self._tokens(), f"Bearer {secret}")
        return self._sessions.seal(token, digest(secret.strip()), self._clock())

    def seal(self, text: str) -> str:
        """Return what only this server's data directory makes of a text: a form that has it is this server's."""
        return self._sessions.sign("form", text)

    def _tokens(self) -> _KnownTokens:
        """Return the tokens as they were at most REFRESH_MS ago, or when the database answered last."""
        now, known = self._clock(), self._known
        if known is not None and 0 <= now - known.at < REFRESH_MS:
            return known
        with self._lock:
            known = self._known
            if known is None or not 0 <= now - known.at < REFRESH_MS:
                known = self._known = self._read_tokens(now, known)
            return known

    def _find_token(self, known: _KnownTokens, authorization: str | None) -> Token:
        kind, _, text = (authorization or "").partition(" ")
        if kind.lower() != "session":
            return _find_token(known, authorization)
        token = self._sessions.find(text.strip(), known.live, self._clock())
        if token is None:
            raise Unauthorized("the session is over, or its token was revoked: sign in again")
        return token

    def _read_tokens(self, now: int, before: "_KnownTokens | None") -> _KnownTokens:
        try:
            with self._database.read() as connection:
                return _KnownTokens(now, tokens.any_token(connection), tokens.live_tokens(connection))
        except DatabaseAway:
            # Nobody can revoke one meanwhile, either; and functions can be called without the database.
            if before is None:
                raise
            return replace(before, at=now)


def _name(scope: Need | tuple[Scope, ...]) -> str:
    return scope if isinstance(scope, str) else " or ".join(sorted(scope))


def _find_token(known: _KnownTokens, authorization: str | None) -> Token:
    if not authorization:
        problem = (
            "this request needs a token" if known.closed else "nobody may call this server yet: it has no token"
        )
        raise Unauthorized(f"{problem}; send it as 'Authorization: Bearer TOKEN', {HOW_TO_GET_IN}")
    kind, _, secret = authorization.partition(" ")
    token = known.live.get(digest(secret.strip())) if kind.lower() == "bearer" else None
    if token is None:
        raise Unauthorized("the token is not valid here, or was revoked")
    return token


def _refuse_foreign_pages(headers: Headers) -> None:
    """Refuse what a browser sends for a page from elsewhere, as nobody needs a token to be let in.

    A page may post to any address (its Origin tells), and may have its own name point to 127.0.0.1 after it was
    loaded (the Host tells). Programs send no Origin, and are not concerned.
    """
    host, origin = headers.get("Host"), headers.get("Origin")
    if host and not _names_loopback(host):
        raise Forbidden(
            f"a server without tokens answers to localhost only, not to {host[:100]!r}; {HOW_TO_GET_IN}"
        )
    if origin and origin.lower() not in {f"http://{host}".lower(), f"https://{host}".lower()}:
        raise Forbidden(f"a server without tokens takes nothing from pages of {origin[:100]!r}; {HOW_TO_GET_IN}")


@lru_cache(maxsize=64)
def _names_loopback(host: str) -> bool:
    """Tell whether a Host header, ``name[:port]``, names this machine."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return is_loopback(name)


def digest(secret: str) -> bytes:
    """Return what is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def create_token(database: Database, name: str, scope: str, now: int) -> str:
    """Make a token and return its secret, which nobody can learn again.

    Raises InvalidRequest when the scope is unknown, the name unusable, or a live token has it.
    """
    if scope not in GRANTS:
        raise InvalidRequest(f"there is no scope {scope!r}; the scopes are {', '.join(GRANTS)}")
    if not name or len(name) > NAME_MAX or not name.isprintable() or name != name.strip():
        raise InvalidRequest(f"a token's name has 1 to {NAME_MAX} printable characters, without spaces around it")
    secret = SECRET_PREFIX + secrets.token_urlsafe(32)
    database.write(partial(_add_token, name=name, scope=scope, sha256=digest(secret), now=now))
    return secret


def _add_token(connection: Connection, *, name: str, scope: Scope, sha256: bytes, now: int) -> None:
    if any(token.name == name for token in tokens.live_tokens(connection).values()):
        raise InvalidRequest(f"there is a token named {name} already; revoke it first, or choose another name")
    tokens.add_token(connection, name=name, scope=scope, sha256=sha256, now=now)
    store_act(connection, act_by_command("create token", name, f"scope={scope}", now))


def has_tokens(database: Database) -> bool:
    """Tell whether a token was ever made."""
    with database.read() as connection:
        return tokens.any_token(connection)


def list_tokens(database: Database) -> list[Token]:
    """Return all tokens, revoked ones too, oldest first. Secrets are not known here."""
    with database.read() as connection:
        return tokens.list_tokens(connection)


def revoke_token(database: Database, name: str, now: int) -> None:
    """Make a token invalid, within a second on servers that run. Raises InvalidRequest when there is none."""
    if not database.write(partial(_revoke, name=name, now=now)):
        raise InvalidRequest(f"there is no live token named {name}")


def _revoke(connection: Connection, *, name: str, now: int) -> int:
    revoked = tokens.revoke_tokens(connection, name=name, now=now)
    if revoked:
        store_act(connection, act_by_command("revoke token", name, "", now))
    return revoked
