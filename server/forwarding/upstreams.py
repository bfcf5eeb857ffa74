"""The URLs that calls go to: their addresses, and the connections that are kept open to them."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import Connection, ConnectionPool, NotSent
from piecework.http.routes import ServerRoute
from piecework.http.urls import DEFAULT_PORTS
from piecework.server.forwarding.bodies import StreamedBody
from piecework.server.forwarding.messages import FunctionCall
from piecework.server.services.functions.health import trust

CONNECT_S = 2.0
"""A URL that takes no connection for so long does not answer."""

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
"""Doing these twice is the same as doing them once (RFC 9110, section 9.2.2)."""


class Dead(NotSent):
    """The URL takes no connection."""


class Upstream:
    """One URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        host, usual = parts.hostname or "", DEFAULT_PORTS[parts.scheme]
        port = parts.port or usual
        shown = f"[{host}]" if ":" in host else host
        self.authority = shown if port == usual else f"{shown}:{port}"
        self._base = parts.path
        tls = trust() if parts.scheme == "https" else None
        self._pool = ConnectionPool(ServerRoute(host, port, self.authority, tls, "", None))

    def target(self, path: str, query: str) -> str:
        """Return what to ask for: the URL's own path and then that of the call, which begins with a slash."""
        joined = self._base.rstrip("/") + path if path else self._base
        return f"{joined or '/'}?{query}" if query else joined or "/"

    def exchange(
        self, call: FunctionCall, head: bytes, body: bytes | StreamedBody, timeout_s: float
    ) -> "UpstreamExchange":
        """Send a request over an idle connection or a new one; return the answer once its head is there.

        Raises NotSent when nothing of it was acted on, Dead if there was no connection, Broken, NotHttp, or what
        making the body raises.
        """
        kept = self._pool.take()
        if kept is not None:
            try:
                return UpstreamExchange(self._pool, kept, call, head, body, timeout_s)
            except Broken as error:  # as a rule it was about to be closed: a new one tells more
                if not may_repeat(call, body, error):
                    raise
        try:
            fresh = self._pool.open(CONNECT_S)
        except Broken as error:
            raise Dead(str(error)) from error
        return UpstreamExchange(self._pool, fresh, call, head, body, timeout_s)

    def close(self) -> None:
        """Close the idle connections."""
        self._pool.close()


class UpstreamExchange:
    """A request that was sent, and its answer while it comes in. It breaks off when the caller leaves."""

    def __init__(
        self,
        pool: ConnectionPool,
        connection: Connection,
        call: FunctionCall,
        head: bytes,
        body: bytes | StreamedBody,
        timeout_s: float,
    ) -> None:
        """Send the request and read the head of the answer. Raises NotSent, Broken or NotHttp."""
        self._pool = pool
        self._connection = connection
        self._disconnect = call.disconnect
        self.answer = UpstreamAnswer(without_body=call.method == "HEAD")
        self._disconnect.guard(connection.cut)
        connection.exchange(head, body, timeout_s, self.answer)

    def read_to_end(self) -> bytes:
        """Return the whole body. Raises Broken or NotHttp."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Go through the body piece by piece as it comes. Raises Broken or NotHttp."""
        answer = self.answer
        try:
            while True:
                if piece := answer.take():
                    yield piece
                if answer.complete:
                    break
                self._connection.receive(answer)
        finally:
            self._disconnect.guard(None)
            self._pool.give_back(self._connection, answer)


class UpstreamAnswer(Answer):
    """An answer whose headers are kept as they come, also those whose name comes again."""

    def __init__(self, *, without_body: bool) -> None:
        super().__init__()
        self.fields: list[tuple[str, str]] = []
        """The headers in order; names in lower case."""
        self.without_body = without_body
        """The request asked for none."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.status:  # else it is a trailer
            super().on_header(name, value)
            self.fields.append((name.decode("latin-1").lower(), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.without_body and self.status >= 200:
            # The parser would wait for the body that the headers announce; some servers send it, in spite of HEAD.
            self.complete, self.reusable = True, False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        if not self.status:  # an early hint
            self.fields.clear()


def may_repeat(call: FunctionCall, body: bytes | StreamedBody, error: Broken | NotHttp) -> bool:
    """Tell whether a call that failed may be sent once more."""
    if isinstance(body, StreamedBody) and body.begun:
        return False
    if isinstance(error, NotSent):
        return True
    return not is_timeout(error) and (call.method in IDEMPOTENT or bool(call.find_header("idempotency-key")))


def is_timeout(error: Broken | NotHttp) -> bool:
    """Tell whether a call failed because nothing came for long."""
    return isinstance(error.__cause__, TimeoutError)


class Upstreams:
    """All URLs in use."""

    def __init__(self) -> None:
        self._known: dict[str, Upstream] = {}

    def get(self, url: str) -> Upstream:
        """Return a URL's upstream, always the same one."""
        found = self._known.get(url)
        return found or self._known.setdefault(url, Upstream(url))

    def keep(self, urls: set[str]) -> None:
        """Forget all but these, and close their idle connections."""
        for url in self._known.keys() - urls:
            forgotten = self._known.pop(url, None)
            if forgotten is not None:  # else another call was quicker
                forgotten.close()
