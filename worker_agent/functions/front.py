"""The front of a served function: from HTTP to calls of its guest processes, and back."""

import hmac
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

import msgspec
import structlog

from piecework.protocol.exchange import HOP_BY_HOP, Headers, Request, Response, pick_sendable
from worker_agent.executor.frames import Done
from worker_agent.functions.attendant import LostError
from worker_agent.functions.attendants import Attendants, BusyError
from worker_agent.functions.figures import Figures
from worker_agent.functions.function import FunctionError

TOKEN_HEADER = "piecework-replica-token"  # noqa: S105  # a header's name
HEALTH_HOOK, METRICS_HOOK = "OnHealthCheck", "OnMetrics"
HEALTH_WAIT_S = 0.5
"""A function that is busy for longer than this is well."""
DROPPED_BYTES = 8 * 1024 * 1024
"""So much of a body beyond the cap is read for its caller to hear that it is too large."""
_SAFE = "/:@!$&'()*+,;=~-._"
_BODILESS = {204, 304}
_JSON = ("content-type", "application/json")

log = structlog.get_logger("function")


class Scope(Protocol):
    """A request without its body, as granian has it (RSGI)."""

    method: str
    path: str
    query_string: str

    @property
    def headers(self) -> "HeaderMap": ...


class HeaderMap(Protocol):
    """The headers of a request; their names are in lower case."""

    def items(self) -> list[tuple[str, str]]: ...
    def get(self, key: str, default: str = "") -> str: ...


class Exchange(Protocol):
    """The way to a request's body and for its response."""

    def __aiter__(self) -> AsyncIterator[bytes]: ...
    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Manners:
    """How a front treats its callers."""

    port: int
    body_bytes: int
    """Size of the largest body of a request."""
    wait_s: float = 10.0
    """How long a call may wait for a guest process."""
    token: str | None = None
    """What callers must show; None: nothing."""


class Front:
    """Answers all requests, whatever becomes of the guest."""

    def __init__(self, open_attendants: Callable[[], Awaitable[Attendants]], manners: Manners) -> None:
        self._open_attendants = open_attendants
        self._manners = manners
        self._figures = Figures()
        self._own = {"/health": self._tell_health, "/metrics": self._tell_metrics, "/stats": self._tell_stats}
        self.attendants: Attendants

    async def open(self) -> None:
        """Be ready for requests. Raises FunctionError."""
        self.attendants = await self._open_attendants()

    async def reload(self) -> None:
        """Answer with the code that the function's file has now; when that cannot run, go on as before."""
        try:
            fresh = await self._open_attendants()
        except FunctionError as error:
            log.error("not reloaded, the code before goes on", reason=str(error))  # noqa: TRY400
            return
        old, self.attendants = self.attendants, fresh
        log.info("reloaded", sha256=fresh.version.checksum[:12])
        await old.close()

    async def answer(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        method = scope.method
        own = self._own.get(scope.path) if method in {"GET", "HEAD"} else None
        if not self._is_known(scope):
            response = _refuse_stranger(scope)
        elif own is not None:
            response = await own()
        else:
            began = time.perf_counter()
            response = await self._pass_on(scope, exchange)
            self._figures.note(response.status, time.perf_counter() - began)
        body = b"" if response.status in _BODILESS else response.body
        headers = [(name.lower(), value) for name, value in pick_sendable(response.headers)]
        if method == "HEAD":
            headers.append(("content-length", str(len(body))))
            body = b""
        exchange.response_bytes(response.status, headers, body)

    def _is_known(self, scope: Scope) -> bool:
        token = self._manners.token
        if token is None or (scope.path == "/health" and scope.method in {"GET", "HEAD"}):
            return True
        return hmac.compare_digest(scope.headers.get(TOKEN_HEADER, "").encode(), token.encode())

    async def _pass_on(self, scope: Scope, exchange: Exchange) -> Response:
        """Have a guest answer a request."""
        try:
            body = await self._read_body(scope, exchange)
        except _TooLargeError:
            return _refuse(413, f"the body has more than {self._manners.body_bytes} bytes, the most for a request")
        except (RuntimeError, OSError) as error:
            return _refuse(400, f"the body did not come: {error}")
        uri = quote(scope.path, safe=_SAFE) + (f"?{scope.query_string}" if scope.query_string else "")
        return await self._ask(Request(scope.method, uri, _pick_headers(scope.headers), body))

    async def _read_body(self, scope: Scope, exchange: Exchange) -> bytes:
        """Return the body. Raises _TooLargeError.

        Somewhat more than is allowed is read, and dropped: many callers look for an answer only when all is sent.
        """
        limit = self._manners.body_bytes
        length = scope.headers.get("content-length", "0")
        if length == "0" and not scope.headers.get("transfer-encoding", ""):
            return b""
        announced = int(length) if length.isdecimal() else 0
        if announced > limit and (announced > limit + DROPPED_BYTES or scope.headers.get("expect", "")):
            raise _TooLargeError
        body, size = bytearray(), 0
        async for piece in exchange:
            size += len(piece)
            if size > limit + DROPPED_BYTES:
                raise _TooLargeError
            if size <= limit:
                body += piece
            else:
                body.clear()
        if size > limit:
            raise _TooLargeError
        if announced > size:
            raise ConnectionResetError("it broke off")
        return bytes(body)

    async def _ask(self, request: Request, mode: str | None = None, wait_s: float | None = None) -> Response:
        wait_s = self._manners.wait_s if wait_s is None else wait_s
        try:
            done = await self.attendants.perform(request, self._manners.port, wait_s, mode)
        except BusyError:
            return _refuse(503, "all guest processes are busy, and others wait already", ("retry-after", "1"))
        except LostError as error:
            log.warning("guest process lost", reason=str(error), method=request.method)
            return _refuse(504 if error.overdue else 500, str(error))
        return _read_response(done)

    async def _tell_health(self) -> Response:
        if HEALTH_HOOK not in self.attendants.version.exports:
            return Response(200, (("content-type", "text/plain"),), b"OK")
        response = await self._ask(Request(), HEALTH_HOOK, HEALTH_WAIT_S)
        busy = response.status == 503 and bool(response.find_header("retry-after"))
        return Response(200, (("content-type", "text/plain"),), b"OK") if busy else response

    async def _tell_metrics(self) -> Response:
        body = self._figures.write_metrics()
        if METRICS_HOOK in self.attendants.version.exports:
            found = await self._ask(Request(), METRICS_HOOK, HEALTH_WAIT_S)
            body += found.body if found.status == 200 else b""
        return Response(200, (("content-type", "text/plain; version=0.0.4; charset=utf-8"),), body)

    async def _tell_stats(self) -> Response:
        return Response(200, (_JSON,), self._figures.write_json())


class _TooLargeError(Exception):
    """The body is larger than allowed."""


def _pick_headers(headers: HeaderMap) -> Headers:
    """Return what a guest may see, with names as most write them."""
    return tuple(
        (name.title(), value) for name, value in headers.items() if name not in HOP_BY_HOP and name != TOKEN_HEADER
    )


def _read_response(done: Done) -> Response:
    if done.error is not None:
        log.warning("call failed", kind=done.error.kind, reason=done.error.message)
    return done.response or _refuse(500, "the guest gave no response")


def _refuse_stranger(scope: Scope) -> Response:
    """Refuse a call without the token; one with another's was meant for a replica that was here before."""
    if scope.headers.get(TOKEN_HEADER, ""):
        return _refuse(421, "the Piecework-Replica-Token is not that of this replica; it may have been of another")
    return _refuse(401, "the header Piecework-Replica-Token is missing")


def _refuse(status: int, message: str, *headers: tuple[str, str]) -> Response:
    return Response(status, (_JSON, *headers), msgspec.json.encode({"error": message}))
