"""Requests and replies over HTTP: connections, timeouts, the token, and repeating what is safe to repeat."""

import copy
import logging
import math
import random
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote, urlencode

from piecework import __version__
from piecework.backoff import pause_after
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
from piecework.http import exchange
from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import Body, Connection, ConnectionPool, NotSent, Pieces
from piecework.http.deadlines import NEVER, Deadline
from piecework.http.routes import ServerRoute, find_route
from piecework.http.sockets import NotTrusted, ProxyFailed
from piecework.http.urls import check_token, check_url
from piecework.protocol import bodies
from piecework.protocol.codes import Code
from piecework.tracing import find_current

T = TypeVar("T")
Query = Mapping[str, str | int | float | None]

REPEATED_STATUSES = frozenset({429, 503})
"""Answers that say: nothing was done, try again later."""
BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
"""Methods whose requests need not say that they have no body (RFC 9110, section 8.6)."""
REFUSAL_BYTES = 1024 * 1024
"""No more than about this is read of a refusal; it may come from another program."""
STORED_BYTES_PER_S = 10 * 1024 * 1024
"""A server flushes what it was sent at this speed at least."""
LONGEST_PAUSE_S = 30.0
"""The client pauses no longer than this, whatever ``Retry-After`` says."""
LOGGER = logging.getLogger("piecework.client")
"""Is told of repeated requests. What a program prints, and where it logs, is its own matter."""


@dataclass(frozen=True)
class RetryPolicy:
    """How long the client waits, and how often it tries."""

    attempts: int = 8
    """How often a request that is safe to repeat is tried; 1 switches repeating off."""
    connect_s: float = 5.0
    """For a connection to be made."""
    read_s: float = 30.0
    """For the next bytes of an answer."""
    poll_margin_s: float = 5.0
    """Added to a long poll's own timeout."""
    total_s: float = 90.0
    """No further try starts later than this after the first."""
    first_pause_s: float = 0.1
    """Before the second try; doubled for each further one."""
    longest_pause_s: float = 5.0
    jitter_s: float = 0.5
    """Up to this much is added to each pause at random, so that clients do not return in step."""

    def read_timeout_s(self, poll_s: float, stored_bytes: int = 0) -> float:
        """Return how long to wait for the next bytes of an answer that the server may hold for ``poll_s``.

        ``stored_bytes``: so much has to be on its disk before.
        """
        return (poll_s + self.poll_margin_s if poll_s else self.read_s) + stored_bytes / STORED_BYTES_PER_S

    def pause_s(self, failures: int, asked_s: float | None, chance: float) -> float:
        """Return how long to wait after so many failures; ``chance`` is 0 to 1.

        ``asked_s`` is what the server asked for; None when it did not.
        """
        if asked_s:
            return min(asked_s, LONGEST_PAUSE_S)
        grown_s = pause_after(failures, self.first_pause_s, self.longest_pause_s)
        return min(grown_s + chance * self.jitter_s, self.longest_pause_s)


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


class Tries:
    """The tries of one action that is safe to repeat."""

    def __init__(self, retries: RetryPolicy, deadline: Deadline) -> None:
        self._retries = retries
        self._deadline = deadline
        self._began = time.monotonic()
        self._failures = 0

    def note(self, error: ApiError | ServerUnreachable) -> float | None:
        """Take note of a failure; return how many seconds later to try again, None for not at all."""
        retries = self._retries
        self._failures += 1
        is_last = self._failures >= retries.attempts or time.monotonic() - self._began >= retries.total_s
        if is_last or not _may_pass(error):
            return None
        asked_s = error.retry_after_s if isinstance(error, ApiError) else None
        pause_s = retries.pause_s(self._failures, asked_s, random.random())  # noqa: S311  # keeps no secret
        if pause_s >= self._deadline.shorten(math.inf):
            return None
        LOGGER.info("%s; trying again in %.1f s", error, pause_s)
        return pause_s


class AnyTransport(ABC):
    """What transports share: all of an exchange with a server but waiting for it.

    Redirects are not followed, so the token goes to no other host.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        retries: RetryPolicy | None = None,
        media_type: str = bodies.MSGPACK,
        ca: Path | None = None,
    ) -> None:
        """Find the way to a server; nothing is sent yet. ``ca`` is as ``find_route`` has it.

        Raises ValueError for a bad URL or token, for certificates that cannot be used, and when the environment
        names a proxy that cannot.
        """
        self.url = check_url(url)
        self.media_type = media_type
        self._retries = retries or RetryPolicy()
        self._deadline = NEVER
        route = find_route(self.url, ca)
        self._proxy = route.proxy
        self._trace = find_traceparent()
        self._prepare_pool(route)
        self._target = route.target
        self._headers = (
            f"Host: {route.authority}\r\nUser-Agent: piecework/{__version__}\r\nAccept-Encoding: identity\r\n"
            f"{_authorization(token)}{route.proxy_header}"
        )

    @abstractmethod
    def _prepare_pool(self, route: ServerRoute) -> None:
        """Prepare for keeping connections to a server."""

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

    def _prepare_relay(self, request: exchange.Request, timeout_s: float) -> tuple[bytes, PreparedRequest]:
        """Return the head of a request with headers of the caller's own, and what it is. Raises ValueError."""
        if request.method == "HEAD":
            raise ValueError("what HEAD asks for has no body: use GET")
        given = {name.lower() for name, _ in request.headers}
        ours = [line for line in self._headers.splitlines() if line.partition(":")[0].lower() not in given]
        theirs = [f"{name}: {value}" for name, value in request.headers]
        length = [f"Content-Length: {len(request.body)}"] if request.body or request.method not in BODILESS else []
        lines = [f"{request.method} {self._target}{request.uri} HTTP/1.1", *ours, *theirs, *length]
        if not all(line.isascii() and line.isprintable() for line in lines) or lines[0].count(" ") != 2:
            raise ValueError("method, path and headers are ASCII text, and the path has no spaces: encode others")
        head = "\r\n".join([*lines, "", ""]).encode()
        return head, PreparedRequest(request.method, request.uri, poll_s=timeout_s)

    def _head(self, request: PreparedRequest, accept: str, body: Body = None, content_type: str = "") -> bytes:
        """Return a request's first line and headers. Raises Invalid for texts that no request can have."""
        check_texts({**request.query, "path": request.path + request.last_part})
        target = self._target + quote(request.path) + quote(request.last_part, safe="")
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
        return f"{request.method} {target} HTTP/1.1\r\n{self._headers}Accept: {accept}\r\n{described}\r\n".encode()

    @contextmanager
    def _explaining(self, request: PreparedRequest) -> Iterator[str]:
        """Give what a request goes to, in words, and have what fails in the block say so."""
        through = f", through {self._proxy}" if self._proxy else ""
        url = f"{self.url}{request.path}{request.last_part}{through}"
        try:
            yield url
        except ProxyFailed as error:
            raise ProxyUnreachable(self.url, str(error)) from error
        except NotTrusted as error:
            raise CertificateRefused(self.url, str(error)) from error
        except Broken as error:
            raise ServerUnreachable(self.url, f"{error}{through}", sent=not isinstance(error, NotSent)) from error
        except NotHttp as error:
            raise BadReply(f"{url} did not answer like a Piecework server: {error}") from error


class Transport(AnyTransport):
    """Sends requests to one server. Safe to share between threads: no two requests use a connection at once."""

    pause: Callable[[float], object] = staticmethod(_pause)

    def _prepare_pool(self, route: ServerRoute) -> None:
        self._pool = ConnectionPool(route)

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
        self._pool.close()

    def _send(
        self, request: PreparedRequest, body: Body, content_type: str, *, also: Iterable[int] = ()
    ) -> HttpReply:
        head = self._head(request, self.media_type, body, content_type)
        with self._open(request, head, body, also=also) as stream:
            return stream.read()

    @contextmanager
    def _open(
        self, request: PreparedRequest, head: bytes, body: Body = None, *, also: Iterable[int] = ()
    ) -> Iterator[Stream]:
        """Send a request and give its reply, whose body can be read in the ``with`` block."""
        with self._explaining(request) as url:
            timeout_s = self._retries.read_timeout_s(request.poll_s, len(body or b""))
            connection, answer = self._exchange(head, body, timeout_s)
            try:
                stream = Stream(url, connection, answer)
                if not 200 <= answer.status < 300 and answer.status not in also:
                    raise read_refusal(stream.read(REFUSAL_BYTES))
                yield stream
            finally:
                self._pool.give_back(connection, answer)

    def _exchange(self, head: bytes, body: Body, timeout_s: float) -> tuple[Connection, Answer]:
        """Send a request over an idle connection or a new one; return that and the head of the answer."""
        connection = self._pool.take()
        if connection is not None:
            try:
                return connection, connection.exchange(head, body, timeout_s, deadline=self._deadline)
            except NotSent:  # the server closed it at this moment, and has not seen the request
                self._pool.condemn(connection)
            except Broken:
                self._pool.condemn(connection)
                raise
        connection = self._pool.open(self._retries.connect_s, self._deadline)
        answer = connection.exchange(head, body, timeout_s, deadline=self._deadline)
        self._pool.vindicate(connection)
        return connection, answer


def _authorization(token: str | None) -> str:
    """Return the header line that shows the token; "" without one. Raises ValueError."""
    return f"Authorization: Bearer {check_token(token)}\r\n" if token else ""


def _may_pass(error: Exception) -> bool:
    """Tell whether another try makes sense."""
    return isinstance(error, ServerUnreachable) or (
        isinstance(error, ApiError) and error.http_status in REPEATED_STATUSES
    )
