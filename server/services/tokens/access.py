"""Who may do what: access tokens, and the guard of a server that is open to its own machine."""

import hashlib
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Final, Literal, Protocol

from piecework.http.addresses import is_loopback
from piecework.protocol.retention import FOR_EVER_MS
from piecework.server.errors import DatabaseAway, Forbidden, StorageFull, Unauthorized
from piecework.server.services.tokens.sessions import Sessions
from piecework.server.store.engine.database import Connection, Database
from piecework.server.store.records import Scope
from piecework.server.store.stock import tokens
from piecework.server.store.stock.quotas import forget_unused
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

REFRESH_MS = 1000
"""A new or revoked token counts after this time at the latest."""
USE_EVERY_MS = 60_000
"""When a token was last used is stored at most so often."""

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
        kept_ms: int = FOR_EVER_MS,
    ) -> None:
        """``kept_ms`` is how long tokens stay listed that expired."""
        self._database = database
        self._sessions = sessions
        self._clock = clock
        self._open_without_tokens = open_without_tokens
        self._kept_ms = kept_ms
        self._lock = threading.Lock()
        self._known: _KnownTokens | None = None
        self._used: dict[int, int] = {}
        self._stored: dict[int, tuple[int, int]] = {}
        """Of a token: which use was stored, and when."""

    def check(self, scope: Need | tuple[Scope, ...], headers: Headers) -> Token | None:
        """Let a request pass that asks for ``scope``, or for one of several; return the token that it needed.

        Raises Unauthorized without a valid token where one is needed, Forbidden when its scope does not cover the
        request, and when a web page from elsewhere sent it to a server that needs no token.
        """
        if scope == OPEN:
            return None
        now = self._clock()
        known = self._tokens(now)
        if not known.closed and self._open_without_tokens:
            _refuse_foreign_pages(headers)
            return None
        token = self._find_token(known, headers.get("Authorization"), now)
        try:
            _check_rights(token, scope, now)
        except (Unauthorized, Forbidden) as error:
            error.who = token.name
            raise
        self._used[token.id] = now
        return token

    def find_rights(self, headers: Headers) -> tuple[str | None, frozenset[Scope]]:
        """Return the name of the token that headers show, and all that they may do; None where none is needed.

        Raises like ``check``.
        """
        token = self.check("view", headers)
        if token is not None:
            _check_whole(token)
        return (None, GRANTS["admin"]) if token is None else (token.name, GRANTS[token.scope])

    def open_session(self, secret: str) -> str:
        """Return a text that stands for a token for a while, where its secret is not to lie about.

        ``Authorization: Session TEXT`` shows the token then, until it is revoked or expires. Raises Unauthorized,
        and Forbidden for a token that is for some lambdas.
        """
        now = self._clock()
        token = _find_token(self._tokens(now), f"Bearer {secret}")
        _check_expiry(token, now)
        _check_whole(token)
        return self._sessions.seal(token, digest(secret.strip()), now)

    def seal(self, text: str) -> str:
        """Return what only servers of this database make of a text: a form that has it is theirs."""
        return self._sessions.sign("form", text)

    def store_uses(self) -> None:
        """Store when tokens were used last, of each at most once in USE_EVERY_MS."""
        now = self._clock()
        self._store_uses({id_: at for id_, at in self._used.copy().items() if self._is_due(id_, now)}, now)

    def forget(self) -> None:
        """Remove tokens that expired long ago."""
        if self._kept_ms == FOR_EVER_MS:
            return
        before = self._clock() - self._kept_ms
        self._database.write(partial(_forget, before=before), durable=False)

    def close(self) -> None:
        """Store the uses that were not yet stored, if the database still takes them."""
        with suppress(DatabaseAway, StorageFull):
            self._store_uses(self._used.copy(), self._clock())

    def _is_due(self, id_: int, now: int) -> bool:
        stored = self._stored.get(id_)
        return stored is None or not 0 <= now - stored[1] < USE_EVERY_MS

    def _store_uses(self, used: dict[int, int], now: int) -> None:
        new = {id_: at for id_, at in used.items() if self._stored.get(id_, (None,))[0] != at}
        if new:
            self._database.write(partial(tokens.note_uses, used=new), durable=False)
            self._stored.update({id_: (at, now) for id_, at in new.items()})

    def _tokens(self, now: int) -> _KnownTokens:
        """Return the tokens as they were at most REFRESH_MS ago, or when the database answered last."""
        known = self._known
        if known is not None and 0 <= now - known.at < REFRESH_MS:
            return known
        with self._lock:
            known = self._known
            if known is None or not 0 <= now - known.at < REFRESH_MS:
                known = self._known = self._read_tokens(now, known)
            return known

    def _find_token(self, known: _KnownTokens, authorization: str | None, now: int) -> Token:
        kind, _, text = (authorization or "").partition(" ")
        if kind.lower() != "session":
            return _find_token(known, authorization)
        token = self._sessions.find(text.strip(), known.live, now)
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


def _forget(connection: Connection, before: int) -> None:
    if tokens.forget_expired(connection, before=before):
        forget_unused(connection)


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


def _check_rights(token: Token, scope: Need | tuple[Scope, ...], now: int) -> None:
    """Raise Unauthorized when a token has expired, Forbidden when its scope does not cover what is asked."""
    _check_expiry(token, now)
    if GRANTS[token.scope].isdisjoint((scope,) if isinstance(scope, str) else scope):
        raise Forbidden(f"the token {token.name} has scope {token.scope}, this request needs {_name(scope)}")


def _check_expiry(token: Token, now: int) -> None:
    if token.expires_at is not None and token.has_expired(now):
        raise Unauthorized(f"the token {token.name} expired at {show_moment(token.expires_at)}: get a new one")


def _check_whole(token: Token) -> None:
    """Raise Forbidden for a token that does not see all that pages show."""
    if token.quota and token.quota.lambdas:
        error = Forbidden(f"the token {token.name} is for some lambdas: the console is not for it")
        error.who = token.name
        raise error


def show_moment(at: int) -> str:
    """Return a time as messages tell it."""
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
