"""Connections to a server: made, kept open between requests, and never used for two requests at once."""

import os
import socket
import ssl
import struct
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from piecework.client.answers import HEAD_MAX_BYTES, Answer, Broken, NotHttp
from piecework.client.routes import Proxy, Route

READ_BYTES = 64 * 1024
"""So much is read at once, at most."""
WRITE_BYTES = 256 * 1024
"""So much is written at once, at most; each piece has the whole time-out."""


LEAST_WAIT_S = 0.001
"""A socket takes a time-out of 0 for none."""
RESET_AT_CLOSE = struct.pack("ii", 1, 0)
"""For SO_LINGER. After a shutdown no reading makes room: without a reset, who sends waits a minute for some."""
IDLE_MAX_S = 60.0
"""A firewall on the way may forget a connection that was idle for longer, and drop what is sent on it."""


class Pieces(Protocol):
    """A body that is made while it is sent. It may be gone through more than once."""

    def __iter__(self) -> Iterator[bytes]: ...

    def __len__(self) -> int:
        """Return the size of the whole body, bytes."""


Body = bytes | Pieces | None


class NotSent(Broken):
    """The connection failed before the whole request was on its way, so the server has not acted on it."""


class Connection:
    """One open connection. After Broken or NotHttp it is good for nothing but ``close``."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        # One that was given up, by Ctrl-C say, must not stay open.
        self._finalizer = weakref.finalize(self, opened.close)
        self.intact = True
        """Everything that was to be sent was sent."""
        self.idle_since = 0.0
        """When it was given back, by the monotonic clock."""

    def is_alive(self) -> bool:
        """Tell whether an idle connection can be used: it was lately, nothing came in, and it is not closed."""
        if time.monotonic() - self.idle_since > IDLE_MAX_S:
            return False
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        return False

    def exchange(self, head: bytes, body: Body, timeout_s: float, answer: Answer | None = None) -> Answer:
        """Send a request and return the answer once its head is there; ``receive`` brings the rest.

        ``timeout_s`` is for each piece sent, for the head of the answer, and for each wait for more of its body.
        ``answer`` is what takes it in, when that is to be one of the caller's own.
        Raises NotSent, Broken, NotHttp, or what making the body raises.
        """
        self._socket.settimeout(timeout_s)
        answer = answer or Answer()
        try:
            self._send(head, body)
            self._receive_head(answer, timeout_s)
        except NotSent as error:
            self.intact = False
            self._receive_early(answer, timeout_s, error)
        except BaseException:
            self.close()
            raise
        return answer

    def receive(self, answer: Answer) -> None:
        """Read some more of an answer. Raises Broken or NotHttp."""
        try:
            data = self._socket.recv(READ_BYTES)
        except OSError as error:
            raise Broken(find_reason(error)) from error
        if data:
            answer.feed(data)
        else:
            answer.end()

    def cut(self) -> None:
        """Have whoever sends or receives on it fail at once. For another thread, while it is in use."""
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # that of TLS would pull its state away

    def close(self) -> None:
        self._finalizer()

    def _send(self, head: bytes, body: Body) -> None:
        if isinstance(body, bytes):
            self._write(head + body[:WRITE_BYTES])  # in one packet when it is small
            rest = memoryview(body)
            for start in range(WRITE_BYTES, len(body), WRITE_BYTES):
                self._write(rest[start : start + WRITE_BYTES])
        else:
            self._write(head)
            for piece in body or ():
                self._write(piece)

    def _write(self, data: bytes | memoryview) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise NotSent(find_reason(error)) from error

    def _receive_head(self, answer: Answer, timeout_s: float) -> None:
        """Read the head of an answer, which may come drop by drop, but not for longer than ``timeout_s``."""
        until = time.monotonic() + timeout_s
        self.receive(answer)
        while not answer.status:
            self._socket.settimeout(max(until - time.monotonic(), LEAST_WAIT_S))
            self.receive(answer)
        self._socket.settimeout(timeout_s)

    def _receive_early(self, answer: Answer, timeout_s: float, unsent: NotSent) -> None:
        """Look for the answer of a server that refused a body, and hung up, before it had read all of it."""
        try:
            self._receive_head(answer, timeout_s)
        except (Broken, NotHttp):
            self.close()
            raise unsent from unsent.__cause__


class Pool:
    """The idle connections to one server. Safe to share between threads and with forked processes."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._idle: deque[Connection] = deque()
        self._owner = os.getpid()

    def take(self) -> Connection | None:
        """Return an idle connection that is alive; None when there is none."""
        if self._owner != os.getpid():  # what was open at a fork belongs to the parent
            self._idle, self._owner = deque(), os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was quicker
                return None
            if connection.is_alive():
                return connection
            connection.close()
        return None

    def open(self, timeout_s: float) -> Connection:
        """Make a new connection; ``timeout_s`` for each of its steps. Raises Broken or NotHttp."""
        try:
            return Connection(open_socket(self._route, timeout_s))
        except OSError as error:
            raise Broken(find_reason(error)) from error

    def give_back(self, connection: Connection, answer: Answer) -> None:
        """Keep a connection whose answer is complete for the next request, when it is still good for one."""
        if answer.complete and answer.reusable and connection.intact:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)
        else:
            connection.close()

    def close(self) -> None:
        """Close the idle connections."""
        while (connection := self.take()) is not None:
            connection.close()


def open_socket(route: Route, timeout_s: float) -> socket.socket:
    """Connect to a server, through its proxy when there is one. Raises OSError, Broken or NotHttp."""
    way = route.proxy or route
    opened = socket.create_connection((way.host, way.port), timeout_s)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if route.tls is None:
            return opened
        if route.proxy is not None:
            _open_tunnel(opened, route, route.proxy)
        return route.tls.wrap_socket(opened, server_hostname=route.host)
    except BaseException:
        opened.close()
        raise


def _open_tunnel(opened: socket.socket, route: Route, proxy: Proxy) -> None:
    """Ask the proxy for a tunnel to the server (RFC 9110, 9.3.6)."""
    target = f"{route.host}:{route.port}" if ":" not in route.host else f"[{route.host}]:{route.port}"
    opened.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proxy.header}\r\n".encode())
    head = b""
    while b"\r\n\r\n" not in head:
        data = opened.recv(READ_BYTES)
        if not data or len(head) > HEAD_MAX_BYTES:
            raise NotHttp("the proxy did not answer in HTTP")
        head += data
    status_line = head.partition(b"\r\n")[0].decode("latin-1")
    if status_line.split(" ")[1:2] != ["200"]:
        raise Broken(f"the proxy opened no tunnel: {status_line}")


def find_reason(error: OSError) -> str:
    """Say in a few words why a connection failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate was not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return f"TLS failed: {error.reason.replace('_', ' ').lower()}"
    if error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return "it took too long" if isinstance(error, TimeoutError) else "the connection broke off"
