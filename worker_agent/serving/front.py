"""The front of a served function: from HTTP to calls of its guest processes, and back."""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import msgspec
import structlog

from piecework.http.exchange import HOP_BY_HOP, Headers, Request, Response, pick_sendable
from piecework.http.requests import HOST_FAULT, has_host_fault
from piecework.tracing import Tracer
from piecework.worker_agent.guests.frames import Done, Serving
from piecework.worker_agent.serving.bodies import Bodies, BodyError, Exchange, HeaderMap, Scope
from piecework.worker_agent.serving.call_span import CallSpan
from piecework.worker_agent.serving.calls import BusyError, CallExecutor, HangUp, LostError
from piecework.worker_agent.serving.figures import Figures
from piecework.worker_agent.serving.function import FunctionError
from piecework.worker_agent.serving.recording import CallDraft, CallRecorder

TOKEN_HEADER = "piecework-replica-token"  # noqa: S105  # a header's name
HEALTH_HOOK, METRICS_HOOK = "OnHealthCheck", "OnMetrics"
HEALTH_WAIT_S = 0.5
"""A function that is busy for longer than this is well."""
HUNG_UP = 499
"""The status of calls whose callers did not wait for the end; nobody gets it."""
_SAFE = "/:@!$&'()*+,;=~-._"
_BODILESS = {204, 304}
_JSON = ("content-type", "application/json")
_LATER = ("retry-after", "1")

log = structlog.get_logger("function")


@dataclass(frozen=True, kw_only=True)
class FrontOptions:
    """How a front treats its callers."""

    port: int
    body_bytes: int
    """Size of the largest body of a request."""
    wait_s: float = 10.0
    """How long a call may wait for a guest process."""
    token: str | None = None
    """What callers must show; None: nothing."""
    underscores: bool = False
    """Headers with underscores in their names are passed on, too. Who shows the token has dropped them, or not."""


class Front:
    """Answers all requests, whatever becomes of the guest."""

    def __init__(
        self,
        open_executor: Callable[[], Awaitable[CallExecutor]],
        options: FrontOptions,
        tracer: Tracer | None = None,
        recorder: CallRecorder | None = None,
    ) -> None:
        self._open_executor = open_executor
        self._recorder = recorder
        self._tracer = tracer
        self._options = options
        self._keeps_underscores = options.underscores or options.token is not None
        self._figures = Figures()
        self._bodies = Bodies(options.body_bytes)
        self._own = {"/health": self._tell_health, "/metrics": self._tell_metrics, "/stats": self._tell_stats}
        self.executor: CallExecutor

    async def open(self) -> None:
        """Be ready for requests. Raises FunctionError."""
        self.executor = await self._open_executor()

    async def reload(self) -> None:
        """Answer with the code that the function's file has now; when that cannot run, go on as before."""
        try:
            fresh = await self._open_executor()
        except FunctionError as error:
            log.error("not reloaded, the code before goes on", reason=str(error))  # noqa: TRY400
            return
        old, self.executor = self.executor, fresh
        log.info("reloaded", sha256=fresh.version.task.checksum[:12])
        await old.close()

    async def answer(self, scope: Scope, exchange: Exchange) -> None:
        """Answer one request."""
        method = scope.method
        own = self._own.get(scope.path) if method in {"GET", "HEAD"} else None
        if has_host_fault(scope.http_version, ",".join(scope.headers.get_all("host"))):
            response = _refuse(400, HOST_FAULT)
        elif not self._is_known(scope):
            response = _refuse_stranger(scope)
        elif own is not None:
            response = await own()
        else:
            began = time.perf_counter()
            span = CallSpan(self._tracer, method, scope.headers.get("traceparent")) if self._tracer else None
            response = await self._pass_on(scope, exchange, span)
            self._figures.note(response.status, time.perf_counter() - began)
            if span:
                span.end(response.status)
        body = b"" if response.status in _BODILESS else response.body
        headers = [(name.lower(), value) for name, value in pick_sendable(response.headers)]
        if method == "HEAD":
            headers.append(("content-length", str(len(body))))
            body = b""
        exchange.response_bytes(response.status, headers, body)

    def _is_known(self, scope: Scope) -> bool:
        token = self._options.token
        if token is None or (scope.path == "/health" and scope.method in {"GET", "HEAD"}):
            return True
        return hmac.compare_digest(scope.headers.get(TOKEN_HEADER, "").encode(), token.encode())

    async def _pass_on(self, scope: Scope, exchange: Exchange, span: CallSpan | None) -> Response:
        """Have a guest answer a request."""
        try:
            body = await self._bodies.read(scope, exchange)
        except BodyError as error:
            return _refuse(error.status, str(error), *([_LATER] if error.status == 503 else []))
        try:
            uri = quote(scope.path, safe=_SAFE) + (f"?{scope.query_string}" if scope.query_string else "")
            request = Request(scope.method, uri, self._pick_headers(scope.headers), bytes(body))
            if span:
                request = span.pass_on(request)
            recorder, draft = self._recorder, None
            if recorder is not None and recorder.picks(request):
                draft = recorder.prepare(self.executor.version, request, self._options.port)
            return await self._ask(request, hang_up=exchange.client_disconnect, span=span, draft=draft)
        finally:
            self._bodies.let_go(body)

    def _pick_headers(self, headers: HeaderMap) -> Headers:
        """Return what a guest may see, with names as most write them."""
        return tuple(
            (name.title(), value)
            for name, value in headers.items()
            if name not in HOP_BY_HOP and name != TOKEN_HEADER and (self._keeps_underscores or "_" not in name)
        )

    async def _ask(
        self,
        request: Request,
        mode: str | None = None,
        wait_s: float | None = None,
        hang_up: HangUp | None = None,
        busy: Response | None = None,
        span: CallSpan | None = None,
        draft: CallDraft | None = None,
    ) -> Response:
        """Have a request answered; ``busy`` is the answer when nobody is free in time.

        With a ``draft`` the call is recorded.
        """
        wait_s, began = self._options.wait_s if wait_s is None else wait_s, time.perf_counter()
        serving = Serving(request, self._options.port)
        frame = self.executor.version.assign(serving, mode) if draft is None else draft.frame
        try:
            done = await self.executor.perform(frame, wait_s, hang_up)
        except BusyError:
            return busy or _refuse(503, "all guest processes are busy, and others wait already", _LATER)
        except LostError as error:
            log.warning("guest process lost", reason=str(error), method=request.method)
            return _refuse(504 if error.overdue else 500, str(error))
        if draft is not None and self._recorder is not None:
            keep = partial(self._recorder.keep, draft, done, time.perf_counter() - began)
            asyncio.get_running_loop().run_in_executor(None, keep)
        if span:
            span.note(done)
        return _read_response(done)

    async def _tell_health(self) -> Response:
        well = Response(200, (("content-type", "text/plain"),), b"OK")
        trouble = self.executor.find_trouble()
        if trouble:
            return _refuse(503, trouble)
        if HEALTH_HOOK not in self.executor.version.exports:
            return well
        return await self._ask(Request(), HEALTH_HOOK, HEALTH_WAIT_S, busy=well)

    async def _tell_metrics(self) -> Response:
        body = self._figures.write_metrics()
        if METRICS_HOOK in self.executor.version.exports:
            found = await self._ask(Request(), METRICS_HOOK, HEALTH_WAIT_S)
            body += found.body if found.status == 200 else b""
        return Response(200, (("content-type", "text/plain; version=0.0.4; charset=utf-8"),), body)

    async def _tell_stats(self) -> Response:
        unrecorded = None if self._recorder is None else self._recorder.omitted
        return Response(200, (_JSON,), self._figures.write_json(unrecorded))


def _read_response(done: Done) -> Response:
    if done.result.cancelled:
        return _refuse(HUNG_UP, "the caller hung up")
    if done.result.error is not None:
        log.warning("call failed", kind=done.result.error.kind, reason=done.result.error.message)
    return done.response or _refuse(500, "the guest gave no response")


def _refuse_stranger(scope: Scope) -> Response:
    """Refuse a call without the token; one with another's was meant for a replica that was here before."""
    if scope.headers.get(TOKEN_HEADER, ""):
        return _refuse(421, "the Piecework-Replica-Token is not that of this replica; it may have been of another")
    return _refuse(401, "the header Piecework-Replica-Token is missing")


def _refuse(status: int, message: str, *headers: tuple[str, str]) -> Response:
    return Response(status, (_JSON, *headers), msgspec.json.encode({"error": message}))
