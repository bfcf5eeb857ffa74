"""The client's transport for event loops: the same requests, tries and errors, over connections that suspend."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from piecework.client.errors import ApiError, ServerUnreachable
from piecework.client.replies import HttpReply, read_refusal
from piecework.client.servers import KnownServer
from piecework.client.transport import REFUSAL_BYTES, AnyTransport, MakeHead, PreparedRequest
from piecework.http import exchange
from piecework.http.answers import Answer, Broken
from piecework.http.async_connections import AsyncConnection, AsyncConnectionPool
from piecework.http.connections import Body, NotSent, Pieces
from piecework.http.routes import ServerRoute
from piecework.protocol import bodies

T = TypeVar("T")


class AsyncStream:
    """A reply whose body has yet to be read."""

    def __init__(self, url: str, connection: AsyncConnection, answer: Answer) -> None:
        self.url = url
        self.headers = answer.headers
        """By names in lower case."""
        self._connection = connection
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Go through the body piece by piece as it comes."""
        while True:
            if piece := self._answer.take():
                yield piece
            if self._answer.complete:
                return
            await self._connection.receive(self._answer)

    async def read(self, most_bytes: int | None = None) -> HttpReply:
        """Return the reply with its whole body, or with about ``most_bytes`` of a longer one."""
        answer = self._answer
        while not answer.complete and (most_bytes is None or answer.waiting_bytes < most_bytes):
            await self._connection.receive(answer)
        return HttpReply(self.url, answer.status, answer.reason, answer.headers, answer.take())


class AsyncTransport(AnyTransport[AsyncConnectionPool]):
    """Sends requests to a server, for the coroutines of an event loop. Otherwise like ``Transport``."""

    rest = staticmethod(asyncio.sleep)

    def _make_pool(self, route: ServerRoute) -> AsyncConnectionPool:
        return AsyncConnectionPool(route)

    async def call(self, request: PreparedRequest, reply: type[T], *, also: Iterable[int] = ()) -> T:
        """Send a request and read the reply, as ``Transport.call`` does."""
        body = self._encode(request)

        async def send() -> HttpReply:
            return await self._send(request, body, self.media_type, also=also)

        return self._read(await self.repeat(send) if request.repeatable else await send(), reply, also)

    async def send_stream(self, request: PreparedRequest, body: Pieces, content_type: str) -> HttpReply:
        """Send a request whose body is made while it is sent; once, the caller repeats it."""
        return await self._send(request, body, content_type)

    async def relay(self, request: exchange.Request, timeout_s: float) -> HttpReply:
        """Send a request with headers of the caller's own, as ``Transport.relay`` does."""
        head, sent = self._prepare_relay(request, timeout_s)
        bounded = self.within(self._deadline.shorten(timeout_s))
        async with bounded._open(sent, head, request.body or None, also=range(600)) as stream:  # noqa: SLF001  # its own kind
            return await stream.read()

    @asynccontextmanager
    async def open_stream(self, request: PreparedRequest) -> AsyncIterator[AsyncStream]:
        """Send a request whose reply is read piece by piece in a ``with`` block; once."""
        async with self._open(request, self._head(request, bodies.BINARY)) as stream:
            yield stream

    async def repeat(self, action: Callable[[], Awaitable[T]]) -> T:
        """Do what is safe to repeat, again after a broken connection and when the server is busy."""
        tries = self._count_tries()
        while True:
            try:
                return await action()
            except (ApiError, ServerUnreachable) as error:
                pause_s = tries.note(error)
                if pause_s is None:
                    raise
            await self.rest(pause_s)

    def close(self) -> None:
        """Close the idle connections. The transport can be used again afterwards."""
        self.servers.close()

    async def _send(
        self, request: PreparedRequest, body: Body, content_type: str, *, also: Iterable[int] = ()
    ) -> HttpReply:
        head = self._head(request, self.media_type, body, content_type)
        # What is read piece by piece holds no place: who reads may send others meanwhile.
        place = self.servers.first.pool.await_place(held=bool(request.poll_s))
        async with place, self._open(request, head, body, also=also) as stream:
            return await stream.read()

    @asynccontextmanager
    async def _open(
        self, request: PreparedRequest, head: MakeHead, body: Body = None, *, also: Iterable[int] = ()
    ) -> AsyncIterator[AsyncStream]:
        """Send a request and give its reply, whose body can be read in the ``with`` block."""
        timeout_s = self._retries.read_timeout_s(request.poll_s, len(body or b""))
        for server, is_last in self.servers.in_turn():
            try:
                with self._explaining(server, request):
                    headers = server.headers
                    connection, answer = await self._exchange(server, head(server), body, timeout_s)
                    if (
                        self._token
                        and answer.status == 401
                        and await asyncio.to_thread(self._renew, server, headers, answer, body)
                    ):
                        server.pool.give_back(connection, answer)
                        connection, answer = await self._exchange(server, head(server), body, timeout_s)
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
                stream = AsyncStream(url, connection, answer)
                if not 200 <= answer.status < 300 and answer.status not in also:
                    raise read_refusal(await stream.read(REFUSAL_BYTES))
                yield stream
            finally:
                server.pool.give_back(connection, answer)

    async def _exchange(
        self, server: KnownServer[AsyncConnectionPool], head: bytes, body: Body, timeout_s: float
    ) -> tuple[AsyncConnection, Answer]:
        """Send a request over an idle connection or a new one; return that and the head of the answer."""
        pool = server.pool
        connection = pool.take()
        if connection is not None:
            try:
                return connection, await connection.exchange(head, body, timeout_s, self._deadline)
            except NotSent:  # the server closed it at this moment, and has not seen the request
                pool.condemn(connection)
            except Broken:
                pool.condemn(connection)
                raise
        connection = await pool.open(self._retries.connect_s, self._deadline)
        try:
            answer = await connection.exchange(head, body, timeout_s, self._deadline)
        except Broken:
            pool.condemn(connection)
            raise
        pool.vindicate(connection)
        return connection, answer
