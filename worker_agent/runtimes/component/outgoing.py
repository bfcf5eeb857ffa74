"""``wasi:http/outgoing-handler``: requests to others, under the grants that hold for all guests.

Several may be under way at a time: each is sent by a thread of its own as soon as its body is whole.
"""

import threading
from typing import Any

import msgspec

from piecework.http.exchange import Request, Response
from piecework.worker_agent.runtimes.component.guest import ComponentGuest, FailureError
from piecework.worker_agent.runtimes.component.http_types import (
    InResponse,
    Options,
    OutBody,
    OutRequest,
    write_method,
)
from piecework.worker_agent.runtimes.component.io_calls import Pollable
from piecework.worker_agent.runtimes.component.values import Err, Ok
from piecework.worker_agent.runtimes.journal import doing
from piecework.worker_agent.runtimes.services import PATIENCE_S, DeniedError, ServiceError
from piecework.worker_agent.runtimes.services.journaled import read_response
from piecework.worker_agent.runtimes.wasi.clocks import NS_PER_S

AT_ONCE = 16
"""So many requests, and answers that it keeps, a guest may have at a time: an answer has 16 MiB at most."""


class Future(Pollable):
    """An answer that will come."""

    def __init__(self, guest: ComponentGuest, request: Request, body: OutBody, patience_s: float) -> None:
        self._guest = guest
        self._request = request
        self._body = body
        self._patience_s = patience_s
        self._begun = False
        self._end: Response | ServiceError | None = None
        self._taken = False
        guest.requests += 1
        guest.sent_requests += 1
        self._number = guest.sent_requests
        body.on_finish = self.begin

    def begin(self) -> None:
        """Send the request, if its body is whole. Safe to repeat."""
        if self._begun or not (self._body.finished or self._body.dropped):
            return
        self._begun = True
        request = self._request._replace(body=bytes(self._body.data))
        journal = self._guest.call.journal
        if journal is None:
            self._start(request)
        else:
            asked = msgspec.msgpack.encode([self._number, self._body.dropped, *request])
            journal.through("request", asked, doing(lambda: self._start(request)))

    def _start(self, request: Request) -> None:
        if self._guest.call.access.sealed:
            # It is refused, and no thread must make a difference.
            self._end = self._send(request)
            return
        self._guest.pending += 1
        threading.Thread(target=self._run, args=(request,), name="request", daemon=True).start()

    def is_ready(self, guest: ComponentGuest) -> bool:  # noqa: ARG002
        return self._end is not None

    def describe(self) -> str:
        return f"request {self._number}"

    def get(self) -> Ok | Err | None:
        """Return the answer, or why there is none, once; None: not yet."""
        end = self._look()
        if end is None:
            return None
        if self._taken:
            return Err()
        self._end, self._taken = end, True
        if isinstance(end, Response):
            return Ok(Ok(InResponse(self._guest, end)))
        self._log(end)
        return Ok(Err(name_error(end)))

    def _look(self) -> Response | ServiceError | None:
        """Return what came; None: nothing yet."""
        journal = self._guest.call.journal
        if journal is None or self._taken:
            return self._end
        try:
            told = journal.through("answer", b"%d" % self._number, self._tell)
            return read_response(told) if told else None
        except ServiceError as error:
            return error

    def _tell(self) -> bytes:
        """Return what came, for a journal; empty: nothing yet. Raises ServiceError."""
        end = self._end
        if isinstance(end, ServiceError):
            raise end
        return b"" if end is None else msgspec.msgpack.encode(end)

    def close(self) -> None:
        """Count it no more, unless the guest has the answer, which counts itself."""
        if not (self._taken and isinstance(self._end, Response)):
            self._guest.requests -= 1

    def _run(self, request: Request) -> None:
        end = self._send(request)
        self._guest.pending -= 1
        self._end = end
        self._guest.news.set()

    def _send(self, request: Request) -> Response | ServiceError:
        if self._body.dropped:
            return ServiceError("the request's body was dropped before it was finished")
        try:
            return self._guest.services.fetch(request, self._patience_s)
        except ServiceError as error:
            return error
        except Exception as error:  # noqa: BLE001  # nobody else would hear of it
            return ServiceError(f"{type(error).__name__}: {error}")

    def _log(self, error: ServiceError) -> None:
        kind = "denied" if isinstance(error, DeniedError) else "failed"
        self._guest.call.log.write(f"HTTP request {kind}: {error}\n".encode())


def handle(guest: ComponentGuest, request: OutRequest, options: Options | None) -> Future:
    """Send a request, now or when its body is finished. Raises FailureError."""
    if guest.requests >= AT_ONCE:
        raise FailureError(("connection-limit-reached", None))
    whole = Request(write_method(request.method), request.find_uri(), request.headers.to_headers())
    if not request.taken:
        request.content.finished = True
    future = Future(guest, whole, request.content, _find_patience(options))
    future.begin()
    return future


def finish(_guest: ComponentGuest, body: OutBody, trailers: Any) -> None:
    """Note that a body is whole. Trailers are checked, and not sent."""
    if trailers is not None:
        trailers.freeze()
    body.finished = True
    if body.on_finish is not None:
        body.on_finish()


def name_error(error: ServiceError) -> tuple[str, Any]:
    """Return what WASI calls this."""
    if isinstance(error, DeniedError):
        return "HTTP-request-denied", None
    return "internal-error", str(error)


def _find_patience(options: Options | None) -> float:
    given = [] if options is None else [each for each in options.times.values() if each is not None]
    return min([PATIENCE_S, sum(given) / NS_PER_S] if given else [PATIENCE_S])
