"""The client's calls about results: wait for jobs, read what they produced, stream it as they end."""

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Unpack

import msgspec
from msgspec import UNSET

from piecework.client.calls import AnyId, AnyLambda, path_id
from piecework.client.carriers import Carrier
from piecework.client.errors import JobCancelled, JobFailed, ServerUnreachable, StillRunning
from piecework.client.modes import call, iteration
from piecework.client.queue.jobs.handles import completes
from piecework.client.queue.jobs.inputs import Input
from piecework.client.queue.jobs.jobs import POLL_S, JobCalls, JobOptions
from piecework.client.transport import PreparedRequest, Query
from piecework.http.deadlines import Deadline
from piecework.protocol.ids import Id
from piecework.protocol.messages import Content, JobInfo, JobList, blob_id, given
from piecework.protocol.messages.base import show_shortly
from piecework.protocol.states import JobState

IDS_PER_REQUEST = 200
"""How many jobs one request may ask about."""
FEW_JOBS = 20
"""Up to so many jobs are reported one by one as they end; of more, those that ended within BATCH_POLL_S."""
BATCH_POLL_S = 0.5
CROWD_POLL_S = 2.0
"""How long a part of the jobs may keep the others from being looked at, when none of the part ends."""
SHORTEST_POLL_S = 0.05
"""Pause after a poll without news, so that a server that does not hold polls is not flooded."""


Until = Literal["any", "all"]


@dataclass(frozen=True, slots=True)
class JobResult:
    """How a job ended."""

    info: JobInfo
    output: bytes
    """What it produced; empty unless it finished."""

    def __repr__(self) -> str:
        return f"JobResult(info={self.info!r}, output={show_shortly(self.output)})"

    @property
    def ok(self) -> bool:
        return self.info.state is JobState.FINISHED

    def read(self) -> bytes:
        """Return the output. Raises JobFailed, or JobCancelled, when the job ended without one."""
        if not self.ok:
            raise failure(self.info)
        return self.output

    def without_output(self) -> JobInfo:
        """Return the job alone, for keeping many at little memory."""
        content = self.info.output
        blob = Content(id=content.id) if isinstance(content, Content) else UNSET
        return msgspec.structs.replace(self.info, output=blob)


def failure(info: JobInfo) -> JobFailed:
    """Return the error that tells how a job failed."""
    if info.state is JobState.CANCELLED:
        return JobCancelled(info.id)
    if info.error is UNSET or info.error is None:
        return JobFailed(info.id, "guest", "the worker gave no reason")
    return JobFailed(info.id, info.error.kind, info.error.message, given(info.exit_code))


def choose_poll(asked: int, *, others: bool, news: bool) -> tuple[Until, float]:
    """Return what the next poll waits for, and for how many seconds.

    A few jobs are reported one by one. Of many, those that end within BATCH_POLL_S come together, because
    each answer lists all that were asked about; while none ends, the poll waits for the first that does.
    """
    if asked <= FEW_JOBS and not others:
        return "any", POLL_S
    if news:
        return "all", BATCH_POLL_S
    return "any", CROWD_POLL_S if others else POLL_S


class ResultCalls(JobCalls):
    """Results. Waiting goes on while the server restarts, as long as repeated requests reach it."""

    clock: Callable[[], float] = staticmethod(time.monotonic)

    @call
    async def wait(self, jobs: Iterable[AnyId], timeout_s: float | None = None) -> list[JobInfo]:
        """Wait until all jobs have ended and return them in the order given.

        Raises StillRunning after ``timeout_s`` seconds (None: never), NotFound for an unknown job.
        """
        ids = [path_id(job) for job in jobs]
        ended = {info.id: info async for info in self.ended(ids, timeout_s)}
        return [ended[job] for job in ids]

    @call
    async def result(self, job_id: AnyId, timeout_s: float | None = None) -> bytes:
        """Wait until a job has ended and return its output.

        Raises JobFailed or JobCancelled when it has none, StillRunning after ``timeout_s`` (None: never).
        """
        [found] = [result async for _, result in self.results([job_id], timeout_s)]
        return found.read()

    @call
    async def run(
        self,
        lambda_id: AnyLambda,
        input: Input = None,  # noqa: A002  # its name on the wire
        wait_s: float | None = None,
        **options: Unpack[JobOptions],
    ) -> bytes:
        """Submit one job, wait until it has ended and return its output, in one request when it is quick.

        Options are those of ``submit``. Raises JobFailed or JobCancelled when the job has no output,
        StillRunning after ``wait_s`` seconds (None: never).
        """
        deadline = Deadline(wait_s, self.clock)
        poll_s = deadline.shorten(POLL_S)
        info = await self.within(deadline.allow()).submit_and_wait(lambda_id, input, poll_s, **options)
        if not info.state.is_final:
            return await self.result(info.id, None if wait_s is None else deadline.shorten(wait_s))
        return (await self.read_end(info)).read()

    @iteration
    async def results(
        self, jobs: Iterable[AnyId], timeout_s: float | None = None
    ) -> AsyncIterator[tuple[Id, JobResult]]:
        """Go through the results of jobs as they end: pairs of the job's id and how it ended.

        A job that failed is a result too: ``result.read()`` gives the output or raises JobFailed.
        Raises StillRunning after ``timeout_s`` seconds (None: never), NotFound for an unknown job.
        """
        async for info in self._watch(jobs, timeout_s, output="inline"):
            yield info.id, await self.read_end(info)

    @completes
    def as_completed(self, jobs: Iterable[AnyId], timeout_s: float | None = None) -> AsyncIterator[JobInfo]:
        """Go through jobs as they end, whatever became of them. As ``piecework.as_completed``, also for ids."""
        return self._watch(jobs, timeout_s, output="inline")

    @call
    async def gather(self, jobs: Iterable[AnyId], timeout_s: float | None = None) -> list[bytes]:
        """Wait for all jobs and return their outputs in that order. As ``piecework.gather``, also for ids."""
        ids = [path_id(job) for job in jobs]
        outputs = {job: result.read() async for job, result in self.results(ids, timeout_s)}
        return [outputs[job] for job in ids]

    @call
    async def read_end(self, info: JobInfo) -> JobResult:
        """Return how a job ended, with its output, which is fetched unless it came along."""
        return JobResult(info, await self.output(info) if info.state is JobState.FINISHED else b"")

    @iteration
    def ended(self, jobs: Iterable[AnyId], timeout_s: float | None = None) -> AsyncIterator[JobInfo]:
        """Go through jobs as they end, without their outputs. Raises like ``results``."""
        return self._watch(jobs, timeout_s, output=None)

    @call
    async def output(self, info: JobInfo) -> bytes:
        """Return the output of a finished job; empty when it has none."""
        content = info.output
        if not isinstance(content, Content):
            return b""
        if content.is_inline:
            return content.read()
        blob = blob_id(content)
        return b"" if blob is None else await self.read(blob)

    @call
    async def failed_output(self, info: JobInfo) -> bytes:
        """Return what a job had written to its output before it failed; empty when that is nothing."""
        blob = given(info.failed_output)
        return b"" if blob is None else await self.read(blob)

    async def _watch(
        self, jobs: Iterable[AnyId], timeout_s: float | None, output: str | None
    ) -> AsyncIterator[JobInfo]:
        """Yield each job once, when it has ended."""
        watch = JobWait(self.carrier, self.clock, output, dict.fromkeys(path_id(job) for job in jobs))
        deadline = Deadline(timeout_s, self.clock)
        while watch.waiting:
            ended = await watch.look(deadline)
            for info in ended:
                yield info
            if not ended and deadline.is_over():
                raise StillRunning(list(watch.waiting))


class JobWait:
    """Jobs that are waited for.

    Jobs start about in the order of their ids, so the first IDS_PER_REQUEST are looked at; when none of them ends
    within a poll they go to the end of the line, so that others are seen too.
    """

    def __init__(
        self,
        carrier: Carrier,
        clock: Callable[[], float],
        output: str | None,
        jobs: Iterable[Id] = (),
        longest_poll_s: float = POLL_S,
    ) -> None:
        """``output`` is ``inline`` to get small outputs with the jobs; None for none."""
        self._longest_poll_s = longest_poll_s
        self.waiting = deque(jobs)
        """Jobs that have not ended; further ones may be added at its end."""
        self.carrier = carrier
        self._clock = clock
        self._output = output
        self._news = True
        self._was_answered = False

    async def look(self, deadline: Deadline, *, hold: bool = True) -> list[JobInfo]:
        """Return jobs that have ended, after a while none if there are none; without ``hold`` at once."""
        asked = [self.waiting.popleft() for _ in range(min(len(self.waiting), IDS_PER_REQUEST))]
        until, poll_s = choose_poll(len(asked), others=bool(self.waiting), news=self._news)
        poll_s = min(poll_s, self._longest_poll_s)
        began = self._clock()
        try:
            found = await self._poll(asked, until, deadline.shorten(poll_s) if hold else 0.0, deadline.allow())
        except ServerUnreachable:
            if not (self._was_answered and deadline.is_over()):
                raise
            found = []  # as far as is known
        ended = {info.id: info for info in found if info.state.is_final}
        self._news = bool(ended)
        left = [job for job in asked if job not in ended]
        if self._news:
            self.waiting.extendleft(reversed(left))
        else:
            self.waiting.extend(left)
            if hold and self._clock() - began < SHORTEST_POLL_S:
                await self.carrier.rest(SHORTEST_POLL_S)
        return list(ended.values())

    async def _poll(self, ids: list[Id], until: Until, timeout_s: float, whole_s: float | None) -> list[JobInfo]:
        query: Query = {
            "ids": ",".join(map(str, ids)),
            "output": self._output,
            "until": until,
            "timeout": round(timeout_s, 3),
        }
        request = PreparedRequest("GET", "/job", query, repeatable=True, poll_s=timeout_s)
        found = await self.carrier.within(whole_s).call(request, JobList)
        self._was_answered = True
        return found.jobs
