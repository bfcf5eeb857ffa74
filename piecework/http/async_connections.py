"""Connections to a server for programs with an event loop: what ``connections`` has, without waiting threads."""

import asyncio
import math
import os
import select
import socket
import ssl
import time
import weakref
from collections import deque
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any

from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import WRITE_BYTES, Body, KeptConnections, NotSent
from piecework.http.deadlines import NEVER, Deadline
from piecework.http.routes import Proxy, ServerRoute
from piecework.http.sockets import (
    LEAST_WAIT_S,
    READ_BYTES,
    NotTrusted,
    ProxyFailed,
    Tunnel,
    find_reason,
    prepare_socket,
)

CONNECTIONS = 100
"""So many requests with a place are on their way at once; others wait for one."""
UNREAD_BYTES = 4 * READ_BYTES
"""When so much has come that nobody took, no more is read."""


class _Pipe(asyncio.Protocol):
    """What came over one connection, and whether more can be sent. One coroutine at a time reads or sends."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.is_over = False
        """Nothing more comes."""
        self._pieces: deque[bytes] = deque()
        self._unread_bytes = 0
        self._failure: Exception | None = None
        self._is_full = False
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "it reads and writes"
        self.transport = transport
        transport.set_write_buffer_limits(high=0)  # what is sent is on its way when sending ends

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._unread_bytes += len(data)
        if self._unread_bytes >= UNREAD_BYTES:
            self.transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self.is_over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_over, self._failure = True, exc
        self._wake()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        self._wake()

    @property
    def is_quiet(self) -> bool:
        """Whether the connection is open, and nothing has come."""
        return not (self.is_over or self._pieces or self.transport.is_closing() or self._has_news())

    def _has_news(self) -> bool:
        """Tell whether something has come of which the event loop, which was busy, has not told yet."""
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def read(self) -> bytes:
        """Return what came next; b"" at the end. Raises OSError."""
        while not self._pieces:
            if self._failure is not None:
                raise _as_os_error(self._failure)
            if self.is_over:
                return b""
            await self._wait()
        data = self._pieces.popleft()
        self._unread_bytes -= len(data)
        if self._unread_bytes < UNREAD_BYTES:
            self.transport.resume_reading()
        return data

    async def write(self, data: bytes | memoryview) -> None:
        """Send something. Raises OSError."""
        if self.transport.is_closing():
            raise _as_os_error(self._failure)
        self.transport.write(data)
        while self._is_full and not self.transport.is_closing():
            await self._wait()
        if self._is_full:
            raise _as_os_error(self._failure)

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _as_os_error(failure: Exception | None) -> OSError:
    return failure if isinstance(failure, OSError) else ConnectionResetError()


class AsyncConnection:
    """One open connection. After Broken or NotHttp it is good for nothing but ``close``."""

    def __init__(self, pipe: _Pipe) -> None:
        self._pipe = pipe
        self.intact = True
        """Everything that was to be sent was sent."""
        self.heard_at = time.monotonic()
        """When something came in last, or it was made; by the monotonic clock."""
        self.opened_at = self.began_at = self.heard_at
        """When it was made, and when the newest request on it was."""
        self._timeout_s = 0.0
        self._deadline = NEVER

    def is_alive(self) -> bool:
        """Tell whether an idle connection can be used: nothing came in, and it is not closed."""
        return self._pipe.is_quiet

    async def exchange(self, head: bytes, body: Body, timeout_s: float, deadline: Deadline = NEVER) -> Answer:
        """Send a request and return the answer once its head is there, as ``Connection.exchange`` does.

        Cancelled, it closes the connection.
        """
        self.began_at = time.monotonic()
        self._timeout_s, self._deadline = timeout_s, deadline
        answer = Answer()
        try:
            await self._send(head, body)
            await self._receive_head(answer)
        except NotSent as error:
            self.intact = False
            try:
                await self._receive_head(answer)  # of a server that refused the body before it had read all of it
            except (Broken, NotHttp):
                self.close()
                raise error from error.__cause__
        except BaseException:
            self.close()
            raise
        return answer

    async def receive(self, answer: Answer) -> None:
        """Read some more of an answer. Raises Broken or NotHttp."""
        try:
            async with asyncio.timeout(self._allow()):
                data = await self._pipe.read()
        except OSError as error:  # TimeoutError is one
            raise Broken(find_reason(error)) from error
        self.heard_at = time.monotonic()
        if data:
            answer.feed(data)
        else:
            answer.end()

    def cut(self) -> None:
        """Have whoever sends or receives on it fail at once."""
        self.close()

    def close(self) -> None:
        with suppress(RuntimeError):  # its event loop is closed
            self._pipe.transport.abort()

    async def _send(self, head: bytes, body: Body) -> None:
        if isinstance(body, bytes):
            await self._write(head + body[:WRITE_BYTES])
            rest = memoryview(body)
            for start in range(WRITE_BYTES, len(body), WRITE_BYTES):
                await self._write(rest[start : start + WRITE_BYTES])
        else:
            await self._write(head)
            for piece in body or ():
                await self._write(piece)

    async def _write(self, data: bytes | memoryview) -> None:
        try:
            async with asyncio.timeout(self._allow()):
                await self._pipe.write(data)
        except OSError as error:
            raise NotSent(find_reason(error)) from error

    async def _receive_head(self, answer: Answer) -> None:
        """Read the head of an answer, which may come drop by drop, but not for longer than one time-out."""
        whole = self._deadline
        self._deadline = Deadline(whole.shorten(self._timeout_s))
        try:
            while not answer.status:
                await self.receive(answer)
        finally:
            self._deadline = whole

    def _allow(self) -> float:
        return max(self._deadline.shorten(self._timeout_s), LEAST_WAIT_S)


class AsyncConnectionPool(KeptConnections[AsyncConnection]):
    """The connections to one server, and those that are idle. Each belongs to the event loop it was made in."""

    def __init__(self, route: ServerRoute) -> None:
        super().__init__(route)
        self._places: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )

    def await_place(self, *, held: bool) -> AbstractAsyncContextManager[None]:
        """Give one of CONNECTIONS places for a request; what the server holds on purpose needs none."""
        if held:
            return nullcontext()
        return self._places.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CONNECTIONS))

    async def open(self, timeout_s: float, deadline: Deadline = NEVER) -> AsyncConnection:
        """Make a new connection; ``timeout_s`` for each of its steps. Raises NotSent or NotHttp."""
        try:
            connection = AsyncConnection(await _open_pipe(self._route, timeout_s, deadline))
        except OSError as error:
            raise NotSent(find_reason(error)) from error
        self._note(connection)
        return connection

    def _find_owner(self) -> object:
        return os.getpid(), asyncio.get_running_loop()


async def _open_pipe(route: ServerRoute, timeout_s: float, deadline: Deadline) -> _Pipe:
    """Connect to a server, as ``sockets.open_socket`` does. Raises OSError or Broken."""
    opened = await _connect_through(route, timeout_s, deadline)
    try:
        async with asyncio.timeout(max(deadline.shorten(timeout_s), LEAST_WAIT_S)):
            _, pipe = await asyncio.get_running_loop().create_connection(
                _Pipe, sock=opened, ssl=route.tls, server_hostname=route.host if route.tls else None
            )
    except ssl.SSLCertVerificationError as error:
        opened.close()
        raise NotTrusted(f"{find_reason(error)}; trusted are {route.trusted}") from error
    except BaseException:
        opened.close()
        raise
    return pipe


async def _connect_through(route: ServerRoute, timeout_s: float, deadline: Deadline) -> socket.socket:
    """Return a socket that leads to the server: straight, or through a tunnel or a proxy."""
    if route.proxy is None:
        return await _connect(route.host, route.port, deadline.shorten(timeout_s))
    try:
        opened = await _connect(route.proxy.host, route.proxy.port, deadline.shorten(timeout_s))
    except OSError as error:
        raise ProxyFailed(f"{route.proxy} does not answer: {find_reason(error)}") from error
    try:
        if route.tls is not None:
            await _open_tunnel(opened, route, route.proxy, deadline.shorten(timeout_s))
    except BaseException:
        opened.close()
        raise
    return opened


async def _connect(host: str, port: int, timeout_s: float) -> socket.socket:
    """Connect to the first address of a host that answers. All of them share the time. Raises OSError."""
    loop, deadline = asyncio.get_running_loop(), Deadline(timeout_s)
    found = await _look_up(host, port, timeout_s)
    failure = OSError("it has no address")
    for place, (family, kind, protocol, _, address) in enumerate(found):
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setblocking(False)
            prepare_socket(opened)
            async with asyncio.timeout(max(deadline.shorten(math.inf) / (len(found) - place), LEAST_WAIT_S)):
                await loop.sock_connect(opened, address)
        except OSError as error:
            opened.close()
            # The event loop puts it into words of its own.
            failure = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
        except BaseException:
            opened.close()
            raise
        else:
            return opened
    raise failure


async def _look_up(host: str, port: int, timeout_s: float) -> list[Any]:
    """Return the addresses of a host; names are looked up in a thread of the event loop's. Raises OSError."""
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    async with asyncio.timeout(max(timeout_s, LEAST_WAIT_S)):
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def _open_tunnel(opened: socket.socket, route: ServerRoute, proxy: Proxy, timeout_s: float) -> None:
    """Ask the proxy for a tunnel to the server."""
    loop, tunnel = asyncio.get_running_loop(), Tunnel(route, proxy)
    try:
        async with asyncio.timeout(max(timeout_s, LEAST_WAIT_S)):
            await loop.sock_sendall(opened, tunnel.request)
            while not tunnel.feed(await loop.sock_recv(opened, READ_BYTES)):
                pass
    except OSError as error:
        raise ProxyFailed(f"{proxy} opened no tunnel: {find_reason(error)}") from error
