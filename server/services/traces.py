"""What the server tells of jobs and calls to whoever keeps traces: submission, wait, outcome."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from piecework.protocol.states import JobState
from piecework.server.services.core import Clock
from piecework.server.store.engine.database import Database
from piecework.server.store.queue.jobs import jobs
from piecework.server.store.records import Job
from piecework.tracing import Tracer, ending, read_traceparent

_current: ContextVar[str | None] = ContextVar("traceparent", default=None)


def current_trace() -> str | None:
    """Return what the jobs are part of that this thread submits now; None where nothing is traced."""
    return _current.get()


class Traces:
    """Tells spans, if there is somebody to tell them to."""

    def __init__(self, database: Database, clock: Clock, tracer: Tracer | None) -> None:
        self._database, self._clock = database, clock
        self._tracer = tracer

    @property
    def is_on(self) -> bool:
        """Whether anything is told."""
        return self._tracer is not None

    @contextmanager
    def within(self, name: str, parent: str | None, attributes: Mapping[str, str]) -> Iterator[str | None]:
        """Tell what is done in the block; jobs that it submits are part of it. Gives its ``traceparent``."""
        if self._tracer is None:
            yield None
            return
        with ending(self._tracer.begin(name, read_traceparent(parent), attributes)) as span:
            token = _current.set(span.traceparent)
            try:
                yield span.traceparent
            finally:
                _current.reset(token)

    def note_leased(self, leased: Sequence[Job]) -> None:
        """Tell of jobs that were given to a worker now, how long they waited."""
        if self._tracer is None:
            return
        for job in leased:
            if parent := _trace_of(job):
                since = max(job.created_at, job.options.due_at or 0) if job.attempt == 1 else self._clock()
                span = self._tracer.begin("wait", parent, {"piecework.job": str(job.id)}, at_s=since / 1000)
                span.end({"piecework.attempt": job.attempt, "piecework.worker": str(job.worker_id)})

    def note_outcomes(self, job_ids: Iterable[int]) -> None:
        """Tell of outcomes that were accepted now, what became of their jobs."""
        if self._tracer is None:
            return
        with self._database.read() as connection:
            found = jobs.find_jobs(connection, job_ids)
        for job in found.values():
            if parent := _trace_of(job):
                error = job.error if job.state is not JobState.FINISHED else None
                failure = f"{error.kind}: {error.message}" if error else ""
                attributes = {"piecework.job": str(job.id), "piecework.state": job.state.value}
                self._tracer.begin("outcome", parent, attributes).end(failure=failure)

    def close(self) -> None:
        """Send what is left."""
        if self._tracer is not None:
            self._tracer.close()


def _trace_of(job: Job) -> str | None:
    return job.options.trace if job.options_json else None
