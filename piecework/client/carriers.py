"""What brings a client's requests to its server and the replies back."""

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, Self, TypeVar

from piecework.client.modes import run
from piecework.client.replies import HttpReply
from piecework.client.transport import PreparedRequest, Stream, Transport
from piecework.http import exchange
from piecework.http.connections import Pieces

T = TypeVar("T")


class ReplyStream(Protocol):
    """A reply whose body has yet to be read."""

    headers: dict[str, str]
    """By names in lower case."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...

    async def read(self, most_bytes: int | None = None) -> HttpReply:
        """Return the reply with its whole body, or with about ``most_bytes`` of a longer one."""
        ...


class Carrier(Protocol):
    """What ``Transport`` does, for coroutines. Errors are those of ``Transport``."""

    def within(self, timeout_s: float | None) -> Self: ...

    async def call(self, request: PreparedRequest, reply: type[T], *, also: Iterable[int] = ()) -> T: ...

    async def send_stream(self, request: PreparedRequest, body: Pieces, content_type: str) -> HttpReply: ...

    async def relay(self, request: exchange.Request, timeout_s: float) -> HttpReply: ...

    def open_stream(self, request: PreparedRequest) -> AbstractAsyncContextManager[ReplyStream]: ...

    async def repeat(self, action: Callable[[], Awaitable[T]]) -> T: ...

    async def rest(self, seconds: float) -> None:
        """Do nothing for so long."""
        ...


class BlockingCarrier:
    """A carrier that never suspends: it waits in its ``Transport``."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def within(self, timeout_s: float | None) -> "BlockingCarrier":
        return BlockingCarrier(self._transport.within(timeout_s))

    async def call(self, request: PreparedRequest, reply: type[T], *, also: Iterable[int] = ()) -> T:
        return self._transport.call(request, reply, also=also)

    async def send_stream(self, request: PreparedRequest, body: Pieces, content_type: str) -> HttpReply:
        return self._transport.send_stream(request, body, content_type)

    async def relay(self, request: exchange.Request, timeout_s: float) -> HttpReply:
        return self._transport.relay(request, timeout_s)

    @asynccontextmanager
    async def open_stream(self, request: PreparedRequest) -> AsyncIterator[ReplyStream]:
        with self._transport.open_stream(request) as stream:
            yield _BlockingStream(stream)

    async def repeat(self, action: Callable[[], Awaitable[T]]) -> T:
        return self._transport.repeat(lambda: run(_await(action)))

    async def rest(self, seconds: float) -> None:
        threading.Event().wait(seconds)


async def _await(action: Callable[[], Awaitable[T]]) -> T:
    return await action()


class _BlockingStream:
    def __init__(self, stream: Stream) -> None:
        self.headers = stream.headers
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._stream:
            yield piece

    async def read(self, most_bytes: int | None = None) -> HttpReply:
        return self._stream.read(most_bytes)
