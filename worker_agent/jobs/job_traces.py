"""What an agent tells of jobs to whoever keeps traces: from lease to outcome, and their guests' part."""

import threading
import time
from collections.abc import Callable, Sequence

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages import LeasedJob, LeasedLambda, Outcome, given
from piecework.tracing import Span, Tracer, read_traceparent
from piecework.worker_agent.guests.guest_spans import tell_guest

KNOWN_MAX = 10_000
"""Jobs that are followed at once; of others nothing is told."""


class JobTraces:
    """Follows jobs that are part of a trace."""

    def __init__(self, tracer: Tracer, clock: Callable[[], float] = time.time) -> None:
        """``clock`` tells seconds since 1970."""
        self._tracer, self._clock = tracer, clock
        self._lock = threading.Lock()
        self._open: dict[Id, Span] = {}

    def begin(self, jobs: Sequence[LeasedJob], lambdas: Sequence[LeasedLambda]) -> None:
        """Begin to follow jobs. What their guests do becomes part of that: they are told its ``traceparent``."""
        known = {each.id: each for each in lambdas}
        for job in jobs:
            parent = read_traceparent(given(job.traceparent))
            if parent is None or len(self._open) >= KNOWN_MAX:
                continue
            lambda_ = known.get(job.lambda_)
            attributes: dict[str, str | int | float | bool] = {
                "piecework.job": str(job.job),
                "piecework.attempt": job.attempt,
                "piecework.lambda": (lambda_.name if lambda_ else "") or str(job.lambda_),
                "piecework.runtime": lambda_.runtime if lambda_ else "",
            }
            span = self._tracer.begin("job", parent, attributes)
            job.traceparent = span.traceparent
            with self._lock:
                self._open[job.job] = span

    def end(self, outcomes: Sequence[Outcome]) -> None:
        """Tell how jobs ended, and how long their guests ran."""
        for outcome in outcomes:
            with self._lock:
                span = self._open.pop(outcome.job, None)
            if span is None:
                continue
            error = outcome.error if outcome.error is not UNSET else None
            failure = f"{error.kind}: {error.message}" if error else ""
            tell_guest(self._tracer, span.traceparent, outcome.usage, failure, self._clock())
            span.end({"piecework.state": outcome.state.value}, failure=failure)

    def close(self) -> None:
        """Send what is left."""
        self._tracer.close()
