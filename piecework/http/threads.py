"""A WSGI app under granian, in threads, that is told of a request what was sent, and when its caller leaves.

Granian's own WSGI takes a body that breaks off for a whole one, makes one variable of the headers ``X-A`` and
``X_A``, tells paths decoded only, and of callers nothing. Its ASGI worker knows all that, and tells coroutines.
Here the same worker calls an app in its threads: there is no event loop. A request costs 10 to 25 us more than
with WSGI, the more when it has a body: that takes one more change of threads.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from granian import _granian, _signals
from granian.server import common, mp

from piecework.http.requests import HELD, HOLD, WATCH, encode_headers, find_length, make_environ

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

Message = MutableMapping[str, Any]
_native: Any = _granian
_worker: Any = mp.WorkerProcess
_granian_signals: Any = _signals
"""These have no types, or wrong ones."""
_TELL_OF_BODIES = frozenset({b"content-length", b"transfer-encoding"})
SILENCE_S = 60.0
"""A body of which nothing comes for so long is given up, and so is a caller that takes nothing."""
WHOLE_BYTES = 64 * 1024
"""An answer whose length is told and no larger than this is sent in one piece."""


class BrokenBody(OSError):
    """A body ended before it was complete, is not what its framing says, or stopped coming."""


class IncomingBody:
    """The body of a request, while it comes in. For one thread."""

    __slots__ = ("_is_broken", "_is_over", "_left", "_proto", "_waiting")

    def __init__(self, proto: Any, first: Message | None, length: int | None) -> None:
        """``first`` is the first part, if the request has a body; ``length`` that of all, if it was told."""
        self._proto = proto
        self._left = length
        self._waiting = b""
        self._is_over = first is None
        self._is_broken = False
        if first is not None:
            self._take_in(first)

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, all that is left for -1; fewer only at the end. Raises BrokenBody."""
        if self._is_over and not self._is_broken and not 0 <= size < len(self._waiting):  # as it nearly always is
            whole, self._waiting = self._waiting, b""
            return whole
        pieces, left = [], size
        while left and (self._waiting or self._await_more()):
            piece = self._waiting if left < 0 else self._waiting[:left]
            self._waiting = self._waiting[len(piece) :]
            pieces.append(piece)
            left -= len(piece) if left > 0 else 0
        return b"".join(pieces)

    def _await_more(self) -> bool:
        """Wait for the next part that is not empty; False at the end."""
        while not self._is_over and not self._waiting:
            self._take_in(_wait(self._proto.receive()) or {"type": "http.disconnect"})
        if self._is_broken and not self._waiting:
            raise BrokenBody("the body broke off before its end, is not framed as it must be, or came too slowly")
        return bool(self._waiting)

    def _take_in(self, message: Message) -> None:
        if message["type"] == "http.disconnect":
            self._is_broken = self._is_over = True
            return
        self._waiting = message["body"]
        if self._left is not None:
            self._left -= len(self._waiting)
        self._is_over = self._left == 0 or not message["more_body"]


class WsgiExchange:
    """A request, and the way for its answer."""

    __slots__ = ("_headers", "_is_gone", "_proto", "_status", "_tells")

    def __init__(self, proto: Any) -> None:
        self._proto = proto
        self._is_gone = False
        self._status = 500
        self._headers: list[tuple[str, str]] = []
        self._tells: list[Callable[[], object]] = []

    def start(self, status: str, headers: list[tuple[str, str]], _error: Any = None) -> Callable[[bytes], object]:
        """Take what WSGI has an app call first."""
        self._status, self._headers = int(status[:3]), headers
        return _do_nothing

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send the answer, in one piece when it is there in one, and close what it came from.

        The last piece is the last step: when the caller has it, its next request may come, to another thread.
        """
        try:
            if isinstance(pieces, list) or self._tell_length() <= WHOLE_BYTES:
                last = b"".join(pieces)
                self._send_start()
            else:
                last = b""
                self._send_pieces(pieces)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if not self._is_gone:
            self._proto.send({"type": "http.response.body", "body": last})

    def watch(self, tell: Callable[[], object]) -> None:
        """Have a function called once, in some thread, when the caller leaves or has its answer."""
        self._tells.append(tell)
        if len(self._tells) == 1:
            self._look_out()

    def _look_out(self) -> None:
        _when_done(self._proto.receive(), self._take_news)

    def _take_news(self, message: Message) -> None:
        if message["type"] != "http.disconnect":  # the end of the body, or the rest of one that nobody reads
            self._look_out()
            return
        self._is_gone = True
        tells, self._tells = self._tells, []
        for tell in tells:
            tell()

    def _tell_length(self) -> float:
        told = [value for name, value in self._headers if name.lower() == "content-length"]
        return int(told[0]) if told and told[0].isdecimal() else float("inf")

    def _send_start(self) -> None:
        headers = encode_headers(self._headers)
        self._proto.send({"type": "http.response.start", "status": self._status, "headers": headers})

    def _send_pieces(self, pieces: Iterable[bytes]) -> None:
        self.watch(_do_nothing)
        self._send_start()
        for piece in pieces:
            if self._is_gone:  # what is sent would be dropped without a word
                return
            if piece:
                _wait(self._proto.send({"type": "http.response.body", "body": piece, "more_body": True}))


def _do_nothing(_: object = None) -> None:
    """Stand where a function is needed."""


class _NoLoop:
    """Stands where granian expects an event loop: what is to be called soon is called at once, in its thread."""

    def call_soon(self, call: Callable[..., object], *args: object, context: object = None) -> None:
        del context
        call(*args)

    call_soon_threadsafe = call_soon


def _make_schedule(app: "WSGIApplication", *, underscores: bool) -> Callable[[Any], None]:
    """Return what answers requests in the threads in which granian announces them."""

    def answer(request: Any, first: Message | None) -> None:
        try:
            exchange = WsgiExchange(request.proto)
            scope = request.scope
            body = IncomingBody(request.proto, first, find_length(scope) if first else None)
            environ = make_environ(scope, body, underscores=underscores)
            environ[WATCH] = exchange.watch
            environ[HOLD] = partial(send, request, exchange, environ)
            pieces = app(environ, exchange.start)
            if pieces is not HELD:
                exchange.send(pieces)
        except BaseException as error:  # noqa: BLE001  # granian logs it, and ends the request
            request.err(error)

    def send(
        request: Any, exchange: WsgiExchange, environ: "WSGIEnvironment", response: "WSGIApplication"
    ) -> None:
        try:
            exchange.send(response(environ, exchange.start))
        except BaseException as error:  # noqa: BLE001  # likewise
            request.err(error)

    def schedule(request: Any) -> None:
        for name, _ in request.scope["headers"]:
            if name in _TELL_OF_BODIES:
                # Nobody waits for the first part of a body: the thread that has it goes on with the request.
                _when_done(request.proto.receive(), partial(answer, request))
                return
        answer(request, None)

    return schedule


def _when_done(awaitable: Any, call: Callable[[Any], object]) -> None:
    """Have a function called with the result of what granian does, in whichever thread that comes."""
    add = getattr(awaitable, "add_done_callback", None)
    if add is None:  # it is done already
        call(next(_results(awaitable), None))
    else:
        add(lambda done: call(done.result()))


def _results(awaitable: Any) -> Iterator[Any]:
    yield (yield from awaitable.__await__())


def _wait(awaitable: Any) -> Any:
    """Return the result of what granian does; None when that takes too long."""
    found: list[Any] = []
    done = threading.Lock()
    done.acquire()

    def take(result: Any) -> None:
        found.append(result)
        done.release()

    _when_done(awaitable, take)
    done.acquire(timeout=SILENCE_S)
    return found[0] if found else None


def make_spawn(*, underscores: bool) -> Callable[..., None]:
    """Return what granian runs as its worker process."""

    def spawn(  # granian calls it so
        worker_id: int, app: "WSGIApplication", sock: Any, ipc: Any, _loop: Any, runtime_mode: Any, threads: int,
        blocking_threads: int | None, py_threads: int, py_threads_idle_s: int, backpressure: int, _task_impl: Any,
        http_mode: Any, http1: Any, http2: Any, websockets: bool, static: Any, _log: Any, tls: tuple[Any, ...],
        _scope_options: Any, metrics: Any,
    ) -> None:  # fmt: skip
        stop, stopped = _granian_signals.set_sync_signals(), threading.Event()
        stop.add_cb(stopped.set)
        worker = _native.ASGIWorker(
            worker_id, sock, ipc, threads, blocking_threads, py_threads, py_threads_idle_s, backpressure,
            http_mode, http1, http2, websockets, static, *tls, metrics,
        )  # fmt: skip
        serve = getattr(worker, common.WORKERS_METHODS[runtime_mode][(sock[0] or sock[1]).is_uds()])
        loop = _NoLoop()
        scheduler = _native.CallbackScheduler(loop, app, None, None, None)
        scheduler._schedule_fn = _make_schedule(app, underscores=underscores)  # noqa: SLF001  # as granian's own does
        serve(scheduler, loop, stop)
        stopped.wait()

    return _worker.wrap_target(spawn)  # type: ignore[no-any-return]
