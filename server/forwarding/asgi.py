"""The proxy alone as an ASGI app: what WSGI does not tell of a call, it passes on.

Paths come as they were sent, headers byte for byte, and an answer that breaks off breaks the connection. Calls are
answered in threads, as everywhere else; all that is no call goes to the app of the part.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from piecework.http.requests import has_host_fault, make_environ
from piecework.server.forwarding.calls import CallForwarding
from piecework.server.forwarding.gateway import find_room, read_scope, refuse_host
from piecework.server.forwarding.messages import CallReply, Disconnect, FunctionCall

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


WATCH_AFTER_S = 1.0
"""A call that takes longer ends when its caller leaves. To look out for that costs a fifth of a short call."""

BODY_WAIT_S, BYTES_PER_S = 30.0, 1000
"""A body is given up for which calls waited longer, and which came slower, than this."""

SEND_WAIT_S = 60.0
"""A caller that takes nothing of its answer for so long is given up."""


class ProxyApp:
    """An ASGI app."""

    def __init__(
        self, calls: CallForwarding, app: "WSGIApplication", threads: int, watch_after_s: float = WATCH_AFTER_S
    ) -> None:
        """``app`` answers what is no call; ``threads`` requests are answered at once."""
        self._calls = calls
        self._app = app
        self._watch_after_s = watch_after_s
        self._pool = ThreadPoolExecutor(threads, "call")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        line = _Line(asyncio.get_running_loop(), receive, send)
        call = read_scope(scope, line, line.disconnect)
        if has_host_fault(scope["http_version"], call.join_header("host")):  # before a thread is taken
            await _send_whole(refuse_host(), send)
            return
        try:
            line.expect(call.length, self._watch_after_s)
            reply = await line.loop.run_in_executor(self._pool, self._answer, scope, call, line)
        finally:
            line.stop_watching()
        if reply is not None:
            await _send_whole(reply, send)

    def _answer(self, scope: Message, call: FunctionCall, line: "_Line") -> CallReply | None:
        """Return the answer; None when it came in pieces and was sent. Runs in a thread."""
        room = find_room(call.path)
        if room is None:
            return _ask(self._app, scope, call)
        reply = self._calls.answer(call.below(room))
        if isinstance(reply.body, bytes):
            return reply
        line.send_pieces(reply)
        return None


class _Line:
    """The connection to the caller, for use from a thread. Once the body is here, its end is looked out for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive, send: Send) -> None:
        self.loop = loop
        self._receive = receive
        self._send = send
        self._waiting = b""
        self._left: int | None = None
        self._patience_s = BODY_WAIT_S
        self._is_over = self._is_late = False
        self._timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None
        self.disconnect = Disconnect()

    def expect(self, length: int | None, watch_after_s: float) -> None:
        """Say how long the body is, if that is known, and when to begin to look out. Runs in the loop."""
        self._left, self._is_over = length, length == 0
        self._timer = self.loop.call_later(watch_after_s, self._grow_late)

    def _grow_late(self) -> None:
        self._is_late = True
        if self._is_over:
            self._watch()

    def read(self, size: int = -1, /) -> bytes:
        """Return some bytes of the body, all that is left for -1; none at the end, or when the caller is gone.

        One that sends too slowly counts as gone: it has a place among the calls.
        """
        if size < 0:
            return b"".join(iter(lambda: self.read(1 << 16), b""))
        while not self._waiting and not self._is_over:
            self._take_in(self._await_more())
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        return data

    def _await_more(self) -> Message:
        began = time.monotonic()
        try:
            message: Message = self._wait_for(self._receive(), self._patience_s)
        except TimeoutError:
            message = {"type": "http.disconnect"}
        self._patience_s -= time.monotonic() - began
        return message

    def _take_in(self, message: Message) -> None:
        """Keep the next part of the body."""
        self._waiting = message.get("body", b"")
        self._patience_s += len(self._waiting) / BYTES_PER_S
        if self._left is not None:
            self._left -= len(self._waiting)
        self._is_over = not message.get("more_body", False) or self._left == 0
        if message["type"] == "http.disconnect":
            self.disconnect.note()
        elif self._is_over and self._is_late:
            self.loop.call_soon_threadsafe(self._watch)

    def send_pieces(self, reply: CallReply) -> None:
        """Send an answer piece by piece while the caller is there.

        Raises what its body raises, or TimeoutError, which breaks the connection.
        """
        pieces = iter(reply.body)
        self.loop.call_soon_threadsafe(self._watch)
        try:
            self._wait_for(self._send(_start(reply)))
            for piece in pieces:
                if self.disconnect.is_noted:  # what is sent would be dropped without a word
                    return
                message = {"type": "http.response.body", "body": piece, "more_body": True}
                self._wait_for(self._send(message), SEND_WAIT_S)
            self._wait_for(self._send({"type": "http.response.body", "body": b""}))
        finally:
            pieces.close()  # type: ignore[attr-defined]  # such a body can always be closed

    def _watch(self) -> None:
        """Look out for the caller's leaving from now on. Runs in the loop. Safe to repeat."""
        if self._watching is None:
            self._watching = self.loop.create_task(self._await_leaving())

    def stop_watching(self) -> None:
        """Look out no more. Runs in the loop. Safe to repeat."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watching is not None:
            self._watching.cancel()

    async def _await_leaving(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass  # the rest of a body that nobody reads any more
        self.disconnect.note()

    def _wait_for(self, awaitable: Awaitable[Any], timeout_s: float | None = None) -> Any:
        async def wait() -> Any:
            return await awaitable

        future = asyncio.run_coroutine_threadsafe(wait(), self.loop)
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()


class _WsgiBody:
    """The body of a call, as WSGI reads it: a read gives less than it asks for only at the end."""

    def __init__(self, call: FunctionCall) -> None:
        self._call = call

    def read(self, size: int = -1, /) -> bytes:
        """Raises OSError when the body breaks off."""
        pieces, left = [], size
        while left and (piece := self._call.body.read(left if left > 0 else 1 << 16)):
            pieces.append(piece)
            left -= len(piece) if left > 0 else 0
        if self._call.disconnect.is_noted:
            raise OSError("the body broke off before its end, is not framed as it must be, or came too slowly")
        return b"".join(pieces)


async def _send_whole(reply: CallReply, send: Send) -> None:
    assert isinstance(reply.body, bytes), "what comes in pieces was sent"
    await send(_start(reply))
    await send({"type": "http.response.body", "body": reply.body})


def _start(reply: CallReply) -> Message:
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in reply.headers
    ]
    return {"type": "http.response.start", "status": reply.status, "headers": headers}


def _ask(app: "WSGIApplication", scope: Message, call: FunctionCall) -> CallReply:
    """Return the answer of a WSGI app."""
    environ = make_environ(scope, _WsgiBody(call), underscores=False)
    reply = CallReply(500)

    def start_response(
        status: str, headers: list[tuple[str, str]], _error: Any = None
    ) -> Callable[[bytes], object]:
        reply.status, reply.headers = int(status.split(" ", maxsplit=1)[0]), headers
        return lambda _: None

    pieces: Iterable[bytes] = app(environ, start_response)
    try:
        reply.body = b"".join(pieces)
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
    return reply
