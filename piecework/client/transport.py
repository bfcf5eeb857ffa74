"""Requests and replies over HTTP: connections, timeouts, the token, and repeating what is safe to repeat."""

import copy
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote, urlencode

from piecework import __version__
from piecework.client.environment import find_traceparent
from piecework.client.errors import (
    ApiError,
    BadReply,
    CertificateRefused,
    ProxyUnreachable,
    ServerUnreachable,
    api_error,
    check_texts,
)
from piecework.client.replies import HttpReply, read_message, read_refusal
from piecework.client.retries import RetryPolicy, Tries
from piecework.client.servers import AWAY_STATUSES, KnownServer, KnownServers
from piecework.configuration.tokens import RenewedToken
from piecework.http import exchange
from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import Body, Connection, ConnectionPool, KeptConnections, NotSent, Pieces
from piecework.http.deadlines import NEVER, Deadline
from piecework.http.routes import ServerRoute, find_route
from piecework.http.sockets import NotTrusted, ProxyFailed
from piecework.http.urls import check_token, read_urls
from piecework.protocol import bodies
from piecework.protocol.codes import Code
from piecework.tracing import find_current

T = TypeVar("T")
P = TypeVar("P", bound=KeptConnections[Any])
Query = Mapping[str, str | int | float | None]

BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
"""Methods whose requests need not say that they have no body (RFC 9110, section 8.6)."""
REFUSAL_BYTES = 1024 * 1024
"""No more than about this is read of a refusal; it may come from another program."""


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


@dataclass(frozen=True)
class PreparedRequest:
    """One request, before it is sent."""

    method: str
    path: str
    query: Query = field(default_factory=dict)
    body: object = None
    """A message to encode; None sends no body."""
    repeatable: bool = False
    """Doing it twice is the same as doing it once."""
    last_part: str = ""
    """What follows the path, as one part of it: its slashes are sent encoded."""
    poll_s: float = 0.0
    """How long the server may hold the answer on purpose."""


class Stream:
    """A reply whose body has yet to be read."""

    def __init__(self, url: str, connection: Connection, answer: Answer) -> None:
        self.url = url
        self.headers = answer.headers
        """By names in lower case."""
        self._connection = connection
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        """Go through the body piece by piece as it comes."""
        while True:
            if piece := self._answer.take():
                yield piece
            if self._answer.complete:
                return
            self._connection.receive(self._answer)

    def read(self, most_bytes: int | None = None) -> HttpReply:
        """Return the reply with its whole body, or with about ``most_bytes`` of a longer one."""
        answer = self._answer
        while not answer.complete and (most_bytes is None or answer.waiting_bytes < most_bytes):
            self._connection.receive(answer)
        return HttpReply(self.url, answer.status, answer.reason, answer.headers, answer.take())


BEARER = "Authorization: Bearer "
REALM = 'realm="piecework"'
"""What a server of ours says beside 401."""

MakeHead = Callable[[KnownServer[Any]], bytes]
"""Makes the head of a request to a server."""


class AnyTransport(ABC, Generic[P]):
    """What transports share: all of an exchange with a server but waiting for it.

    Redirects are not followed, so the token goes to no other host than those that are named.
    """

    def __init__(
        self,
        url: str | Sequence[str],
        token: str | None = None,
        *,
        retries: RetryPolicy | None = None,
        media_type: str = bodies.MSGPACK,
        ca: Path | None = None,
    ) -> None:
        """Find the way to a server, or to several; nothing is sent yet. ``ca`` is as ``find_route`` has it.

        Raises ValueError for a bad URL or token, for certificates that cannot be used, and when the environment
        names a proxy that cannot.
        """
        urls = read_urls(url)
        self.url = urls[0]
        self.media_type = media_type
        self._retries = retries or RetryPolicy()
        self._deadline = NEVER
        self._trace = find_traceparent()
        self._token = token if isinstance(token, RenewedToken) else None
        headers = _common_headers(token)
        routes = [(each, find_route(each, ca)) for each in urls]
        self.servers = KnownServers([KnownServer(*each, headers, self._make_pool(each[1])) for each in routes])

    @abstractmethod
    def _make_pool(self, route: ServerRoute) -> P:
        """Return what keeps connections to a server."""

    def within(self, timeout_s: float | None) -> Self:
        """Return a transport over the same connections, all of whose requests and repeats end within that time.

        None: there is no such end.
        """
        bounded = copy.copy(self)
        bounded._deadline = Deadline(timeout_s)  # noqa: SLF001  # its own kind
        return bounded

    def with_retries(self, retries: RetryPolicy) -> Self:
        """Return a transport over the same connections that waits otherwise."""
        other = copy.copy(self)
        other._retries = retries  # noqa: SLF001  # its own kind
        return other

    @property
    def retries(self) -> RetryPolicy:
        """How long it waits, and how often it tries."""
        return self._retries

    def _renew(self, server: KnownServer[P], headers: str, answer: Answer, body: Body | Pieces) -> bool:
        """Read the token anew when a server refused it; tell whether to send the request again with another one.

        ``headers``: what it was sent with. A function may answer 401, too: that says nothing of our token.
        """
        if self._token is None or answer.status != 401 or REALM not in answer.headers.get("www-authenticate", ""):
            return False
        if server.headers == headers:  # else another thread has done it
            fresh = self._token.renew(headers.partition(BEARER)[2].partition("\r\n")[0])
            if fresh is None:
                return False
            self.servers.set_headers(_common_headers(fresh))
        return body is None or isinstance(body, bytes)

    def _count_tries(self) -> Tries:
        return Tries(self._retries, self._deadline)

    def _encode(self, request: PreparedRequest) -> bytes | None:
        """Return a request's body. Raises Invalid for what cannot be sent."""
        try:
            return None if request.body is None else bodies.encode(request.body, self.media_type)
        except bodies.MessageError as error:
            raise api_error(422, Code.INVALID, str(error)) from error

    @staticmethod
    def _read(found: HttpReply, reply: type[T], also: Iterable[int]) -> T:
        """Read a reply as a message. Raises BadReply, or ApiError for a refusal that was to be read as one."""
        try:
            return read_message(found, reply)
        except BadReply:
            if found.status in also:
                raise read_refusal(found) from None
            raise

    def _prepare_relay(self, request: exchange.Request, timeout_s: float) -> tuple[MakeHead, PreparedRequest]:
        """Return the head of a request with headers of the caller's own, and what it is. Raises ValueError."""
        if request.method == "HEAD":
            raise ValueError("what HEAD asks for has no body: use GET")
        given = {name.lower() for name, _ in request.headers}
        theirs = [f"{name}: {value}" for name, value in request.headers]
        length = [f"Content-Length: {len(request.body)}"] if request.body or request.method not in BODILESS else []
        first = f"{request.method} {request.uri} HTTP/1.1"
        if not all(line.isascii() and line.isprintable() for line in (first, *theirs)) or first.count(" ") != 2:
            raise ValueError("method, path and headers are ASCII text, and the path has no spaces: encode others")

        def head(server: KnownServer[Any]) -> bytes:
            ours = [line for line in server.headers.splitlines() if line.partition(":")[0].lower() not in given]
            line = f"{request.method} {server.target}{request.uri} HTTP/1.1"
            return "\r\n".join([line, *ours, *theirs, *length, "", ""]).encode()

        return head, PreparedRequest(request.method, request.uri, poll_s=timeout_s)

    def _head(self, request: PreparedRequest, accept: str, body: Body = None, content_type: str = "") -> MakeHead:
        """Return what makes a request's head. Raises Invalid for texts that no request can have."""
        check_texts({**request.query, "path": request.path + request.last_part})
        target = quote(request.path) + quote(request.last_part, safe="")
        query = {name: value for name, value in request.query.items() if value is not None}
        if query:
            target = f"{target}?{urlencode(query)}"
        described = ""
        if body is not None:
            described = f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        elif request.method == "POST":
            described = "Content-Length: 0\r\n"
        if request.method == "POST" and (trace := find_current() or self._trace):
            described += f"traceparent: {trace}\r\n"
        rest = f"Accept: {accept}\r\n{described}\r\n"
        return lambda server: (
            f"{request.method} {server.target}{target} HTTP/1.1\r\n{server.headers}{rest}".encode()
        )

    @contextmanager
    def _explaining(self, server: KnownServer[P], request: PreparedRequest) -> Iterator[str]:
        """Give what a request goes to, in words. What fails says so, and further ones go to another server."""
        url = f"{server.url}{request.path}{request.last_part}{server.through}"
        try:
            yield url
        except Broken as error:
            found = _explain(server, error)
            if not self._deadline.is_over():
                self.servers.leave(server, found)
            raise found from error
        except NotHttp as error:
            raise BadReply(f"{url} did not answer like a Piecework server: {error}") from error

    def _is_away(self, server: KnownServer[P], status: int, request: PreparedRequest, also: Iterable[int]) -> bool:
        """Take note of a server that answers that it is away; tell whether to ask the next one at once.

        Such an answer may come after a commit that the database did not confirm.
        """
        if status not in AWAY_STATUSES or status in also:
            return False
        self.servers.leave(server, f"{server.url} answered HTTP {status}")
        return request.repeatable


class Transport(AnyTransport[ConnectionPool]):
    """Sends requests to a server. Safe to share between threads: no two requests use a connection at once."""

    pause: Callable[[float], object] = staticmethod(_pause)

    def _make_pool(self, route: ServerRoute) -> ConnectionPool:
        return ConnectionPool(route)

    def call(self, request: PreparedRequest, reply: type[T], *, also: Iterable[int] = ()) -> T:
        """Send a request and read the reply.

        ``also``: HTTP statuses beside 2xx that are read as a reply, not as a refusal.
        Raises ApiError, also for what cannot be sent, ServerUnreachable or BadReply.
        """
        body = self._encode(request)

        def send() -> HttpReply:
            return self._send(request, body, self.media_type, also=also)

        return self._read(self.repeat(send) if request.repeatable else send(), reply, also)

    def send_stream(self, request: PreparedRequest, body: Pieces, content_type: str) -> HttpReply:
        """Send a request whose body is made while it is sent; once, the caller repeats it."""
        return self._send(request, body, content_type)

    def relay(self, request: exchange.Request, timeout_s: float) -> HttpReply:
        """Send a request with headers of the caller's own, once, and return whatever is answered.

        ``request.uri`` begins with the path at the server, and goes out as it is; ``timeout_s`` is for all of it.
        Raises ServerUnreachable or BadReply; and ValueError for a method, path or header that cannot be sent.
        """
        head, sent = self._prepare_relay(request, timeout_s)
        bounded = self.within(self._deadline.shorten(timeout_s))
        with bounded._open(sent, head, request.body or None, also=range(600)) as stream:  # noqa: SLF001  # its own kind
            return stream.read()

    def open_stream(self, request: PreparedRequest) -> AbstractContextManager[Stream]:
        """Send a request whose reply is read piece by piece in a ``with`` block; once."""
        return self._open(request, self._head(request, bodies.BINARY))

    def repeat(self, action: Callable[[], T]) -> T:
        """Do what is safe to repeat, again after a broken connection and when the server is busy."""
        tries = self._count_tries()
        while True:
            try:
                return action()
            except (ApiError, ServerUnreachable) as error:
                pause_s = tries.note(error)
                if pause_s is None:
                    raise
            self.pause(pause_s)

    def close(self) -> None:
        """Close the idle connections. The transport can be used again afterwards."""
        self.servers.close()

    def _send(
        self, request: PreparedRequest, body: Body, content_type: str, *, also: Iterable[int] = ()
    ) -> HttpReply:
        head = self._head(request, self.media_type, body, content_type)
        with self._open(request, head, body, also=also) as stream:
            return stream.read()

    @contextmanager
    def _open(
        self, request: PreparedRequest, head: MakeHead, body: Body = None, *, also: Iterable[int] = ()
    ) -> Iterator[Stream]:
        """Send a request and give its reply, whose body can be read in the ``with`` block."""
        timeout_s = self._retries.read_timeout_s(request.poll_s, len(body or b""))
        for server, is_last in self.servers.in_turn():
            try:
                with self._explaining(server, request):
                    headers = server.headers
                    connection, answer = self._exchange(server, head(server), body, timeout_s)
                    if self._token and self._renew(server, headers, answer, body):
                        server.pool.give_back(connection, answer)
                        connection, answer = self._exchange(server, head(server), body, timeout_s)
            except ServerUnreachable as error:
                if error.sent or is_last or self._deadline.is_over():
                    raise
                continue
            self.servers.vindicate(server, connection)
            if not self._is_away(server, answer.status, request, also) or is_last:
                break
            server.pool.give_back(connection, answer)
        with self._explaining(server, request) as url:
            try:
                stream = Stream(url, connection, answer)
                if not 200 <= answer.status < 300 and answer.status not in also:
                    raise read_refusal(stream.read(REFUSAL_BYTES))
                yield stream
            finally:
                server.pool.give_back(connection, answer)

    def _exchange(
        self, server: KnownServer[ConnectionPool], head: bytes, body: Body, timeout_s: float
    ) -> tuple[Connection, Answer]:
        """Send a request over an idle connection or a new one; return that and the head of the answer."""
        pool = server.pool
        connection = pool.take()
        if connection is not None:
            try:
                return connection, connection.exchange(head, body, timeout_s, deadline=self._deadline)
            except NotSent:  # the server closed it at this moment, and has not seen the request
                pool.condemn(connection)
            except Broken:
                pool.condemn(connection)
                raise
        connection = pool.open(self._retries.connect_s, self._deadline)
        try:
            answer = connection.exchange(head, body, timeout_s, deadline=self._deadline)
        except Broken:
            pool.condemn(connection)
            raise
        pool.vindicate(connection)
        return connection, answer


def _common_headers(token: str | None) -> str:
    return f"User-Agent: piecework/{__version__}\r\nAccept-Encoding: identity\r\n{_authorization(token)}"


def _authorization(token: str | None) -> str:
    """Return the header line that shows the token; "" without one. Raises ValueError."""
    return f"{BEARER}{check_token(token)}\r\n" if token else ""


def _explain(server: KnownServer[Any], error: Broken) -> ServerUnreachable:
    """Return what a connection that failed means."""
    if isinstance(error, ProxyFailed):
        return ProxyUnreachable(server.url, str(error))
    if isinstance(error, NotTrusted):
        return CertificateRefused(server.url, str(error))
    return ServerUnreachable(server.url, f"{error}{server.through}", sent=not isinstance(error, NotSent))
