"""What a served function tells of a call to whoever keeps traces: the call itself, and its guest's part."""

import time
from collections.abc import Callable

from piecework.http.exchange import Request
from piecework.tracing import Tracer, read_traceparent
from piecework.worker_agent.guests.frames import Done
from piecework.worker_agent.guests.guest_spans import tell_guest

HEADER = "Traceparent"


class CallSpan:
    """Follows one call: as a part of its caller's trace, or as the first of a trace of its own."""

    def __init__(
        self, tracer: Tracer, method: str, traceparent: str | None, clock: Callable[[], float] = time.time
    ) -> None:
        """``clock`` tells seconds since 1970."""
        self._tracer, self._clock = tracer, clock
        self._span = tracer.begin("replica", read_traceparent(traceparent), {"http.request.method": method})

    def pass_on(self, request: Request) -> Request:
        """Return the request as the guest gets it: what that does is part of the call."""
        kept = (pair for pair in request.headers if pair[0] != HEADER)
        return request._replace(headers=(*kept, (HEADER, self._span.traceparent)))

    def note(self, done: Done) -> None:
        """Tell how the guest did."""
        error = done.result.error
        failure = f"{error.kind}: {error.message}" if error else ""
        tell_guest(self._tracer, self._span.traceparent, done.result.usage, failure, self._clock())

    def end(self, status: int) -> None:
        """Tell how the call was answered."""
        failure = f"it was answered with {status}" if status >= 500 else ""
        self._span.end({"http.response.status_code": status}, failure=failure)
