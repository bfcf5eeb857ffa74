"""The client's calls about jobs: submit, look, steer."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import datetime
from typing import Any, Literal, TypedDict, Unpack

from piecework.client.calls import AnyId, AnyLambda, lambda_ref, path_id
from piecework.client.modes import call, iteration
from piecework.client.queue.jobs.handles import submits, submits_many
from piecework.client.queue.jobs.inputs import Input, carried_bytes, file_content, input_content
from piecework.client.queue.jobs.selection import Selection, select_jobs, to_query
from piecework.client.stock.lambdas import LambdaCalls
from piecework.client.transport import PreparedRequest, Query
from piecework.client.uploads import Source
from piecework.http.deadlines import NEVER, Deadline
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Backoff,
    Content,
    DataReply,
    JobCreated,
    JobInfo,
    JobList,
    JobLog,
    JobLogs,
    JobSpec,
    JobSubmit,
    JobUpdate,
    Limits,
    TraceEvent,
    TraceReply,
)
from piecework.protocol.retention import Retain

JOBS_PER_BODY = 1000
"""How many jobs travel in one submission."""
BYTES_PER_BODY = 4 * 1024 * 1024
"""About how many bytes of inline input travel in one submission."""
POLL_S = 20.0
"""How long one long poll asks the server to wait."""


class JobOptions(TypedDict, total=False):
    """Options of a submission. One left out has the lambda's default, then the server's. See ``JobSpec``."""

    tags: list[str]
    status: str
    priority: int
    run_at: datetime
    delay_s: float
    expires_at: datetime
    max_attempts: int
    backoff: Backoff
    retry_on: list[ErrorKind]
    timeout_s: float
    limits: Limits
    ok_codes: list[int]
    args: list[str]
    env: dict[str, str]
    key: str
    retain_s: Retain
    on_end: str
    memo: bool
    tenant: str
    concurrency_key: str
    concurrency_limit: int
    rate_key: str
    rate_limit: int
    rate_period_s: float
    label: str
    after: list[str | int]
    on_failure: Literal["cancel", "run"]
    files: dict[str, Input]
    """What is in its own directory before it starts, by the paths there; each as an input: bytes, a Path."""
    outputs: list[str]
    """Patterns of the files there that it gives back; ``output_files`` lists them."""
    files_of: dict[str, str | int]
    """Jobs whose outputs it gets in ``/inputs``, by the names of the files: ``inputs`` of ``JobSpec``."""
    group: str | int


class JobCalls(LambdaCalls):
    """Jobs: requests to run one lambda on one input."""

    @submits
    async def submit(self, lambda_id: AnyLambda, input: Input = None, **options: Unpack[JobOptions]) -> Id:  # noqa: A002  # its name on the wire
        """Submit one job and return its handle, which is its id.

        What ``input`` may be: ``piecework.client.queue.jobs.inputs.Input``.

        Without a ``key`` the client makes one up for this call, so that a lost answer never makes two jobs.
        Raises Conflict when the key belongs to a job with other content.
        """
        job_id = (await self._post_jobs(await self._one_job(lambda_id, input, options))).id
        assert isinstance(job_id, Id), "the answer to one job has its id"
        return job_id

    @call
    async def submit_and_wait(
        self,
        lambda_id: AnyLambda,
        input: Input,  # noqa: A002  # its name on the wire
        wait_s: float,
        **options: Unpack[JobOptions],
    ) -> JobInfo:
        """Submit one job and return it as it ended, or as it stands after ``wait_s`` seconds.

        A small output comes with it. Otherwise like ``submit``.
        """
        query: Query = {"wait": round(wait_s, 3), "output": "inline"}
        job = (await self._post_jobs(await self._one_job(lambda_id, input, options), query, wait_s)).job
        assert isinstance(job, JobInfo), "the answer to a waiting submission has the job"
        return job

    @submits_many
    async def submit_many(
        self, lambda_id: AnyLambda, inputs: Iterable[Input], **options: Unpack[JobOptions]
    ) -> list[Id]:
        """Submit one job for each input and return their handles, which are their ids, in that order.

        Sends as many requests as the sizes need; each creates all of its jobs or none, and is repeated when its
        answer is lost. A ``key`` is made unique for each job by its position: ``key-0``, ``key-1`` and so on.
        """
        specs = self._specs(lambda_id, inputs, options)
        return [job async for batch in _batches(specs) for job in await self.post_batch(batch)]

    @call
    async def job(self, job_id: AnyId) -> JobInfo:
        """Return a job as it is now, with advice when nothing can run it. Raises NotFound."""
        request = PreparedRequest("GET", f"/job/{path_id(job_id)}", {"view": "full"}, repeatable=True)
        return await self.carrier.call(request, JobInfo)

    @iteration
    def jobs(
        self, *, limit: int | None = None, why: bool = False, **which: Unpack[Selection]
    ) -> AsyncIterator[JobInfo]:
        """Go through the jobs that match, newest first; at most ``limit`` of them.

        ``why``: with why they wait (``advice``) and when they may end (``eta``): of each page's first fifty that
        wait, and that run.
        """
        query: Query = {**to_query(select_jobs(**which)), "view": "full" if why else None}
        return self._items("/job", query, JobList, "jobs", limit)

    @call
    async def count_jobs(self, **which: Unpack[Selection]) -> int:
        """Return how many jobs match; the server counts no further than 100,000."""
        query: Query = {**to_query(select_jobs(**which)), "limit": 1, "total": "true"}
        return (
            await self.carrier.call(PreparedRequest("GET", "/job", query, repeatable=True), JobList)
        ).total or 0

    @call
    async def cancel(self, job_id: AnyId) -> str:
        """Cancel a job and return what the server says; a job that has ended stays as it is.

        A running one is stopped by its agent within seconds. Raises NotFound.
        """
        return await self._steer(PreparedRequest("DELETE", f"/job/{path_id(job_id)}", repeatable=True))

    @call
    async def update_job(self, job_id: AnyId, update: JobUpdate) -> str:
        """Pause, resume or cancel a job, or report its end without its lease. Raises Conflict."""
        return await self._steer(PreparedRequest("POST", f"/job/{path_id(job_id)}", body=update))

    @call
    async def trace(self, job_id: AnyId) -> list[TraceEvent]:
        """Return the steps of a job's life, oldest first."""
        request = PreparedRequest("GET", f"/job/{path_id(job_id)}/trace", repeatable=True)
        return (await self.carrier.call(request, TraceReply)).events

    @call
    async def log(
        self, job_id: AnyId, offset: int = 0, timeout_s: float = 0.0, attempt: int | None = None
    ) -> JobLog:
        """Return a job's log from byte ``offset`` on; waits up to ``timeout_s`` for more of it.

        ``attempt`` says whose log the offset belongs to: a later attempt's log is read from its start.
        """
        query: Query = {"offset": offset, "attempt": attempt, "timeout": timeout_s}
        request = PreparedRequest("GET", f"/job/{path_id(job_id)}/log", query, repeatable=True, poll_s=timeout_s)
        return await self.carrier.call(request, JobLog)

    @call
    async def attempt_log(self, job_id: AnyId, attempt: int) -> JobLog:
        """Return what is kept of one attempt's log. Raises Invalid when the job has made no such attempt."""
        query: Query = {"attempt": attempt, "only": "true"}
        request = PreparedRequest("GET", f"/job/{path_id(job_id)}/log", query, repeatable=True)
        return await self.carrier.call(request, JobLog)

    @call
    async def logs(self, job_id: AnyId) -> JobLogs:
        """Return what is kept of the logs of all attempts of a job."""
        request = PreparedRequest("GET", f"/job/{path_id(job_id)}/logs", repeatable=True)
        return await self.carrier.call(request, JobLogs)

    @iteration
    async def follow_log(self, job_id: AnyId, offset: int = 0) -> AsyncIterator[str]:
        """Go through a job's log as it grows, until the job has ended and all of its log was read."""
        attempt = None
        while True:
            part = await self.log(job_id, offset, POLL_S, attempt)
            if part.text:
                yield part.text
            elif part.state.is_final:
                return
            offset, attempt = part.next, part.attempt

    async def _specs(
        self, lambda_id: AnyLambda, inputs: Iterable[Input], options: JobOptions, deadline: Deadline = NEVER
    ) -> AsyncIterator[JobSpec]:
        """Describe one job for each input, as it is asked for; large inputs are uploaded then."""
        prefix = options.pop("key", None)
        lambda_id = lambda_ref(lambda_id)
        if isinstance(lambda_id, str) and prefix is None:
            found = await self.lambda_(lambda_id)
            lambda_id = found.id  # all of them run the same one, also when a newer one is made

        async def upload(source: Source, name: str) -> DataReply:
            return await self.within(deadline.allow()).upload(source, name)

        fields = await to_fields(options, upload)
        for number, value in enumerate(inputs):
            if prefix is not None:
                fields["key"] = f"{prefix}-{number}"
            yield JobSpec(lambda_=lambda_id, input=await input_content(value, upload), **fields)

    @call
    async def post_batch(self, batch: list[JobSpec]) -> list[Id]:
        """Submit jobs together and return their ids; safe to repeat because the batch has a key."""
        return (await self._post_jobs(JobSubmit(jobs=batch, key=secrets.token_urlsafe(16)))).ids or []

    async def _one_job(self, lambda_id: AnyLambda, value: Input, options: JobOptions) -> JobSubmit:
        """Return a submission that can be repeated: it has a key."""
        options.setdefault("key", secrets.token_urlsafe(16))
        fields = await to_fields(options, self.upload)
        return JobSubmit(lambda_=lambda_ref(lambda_id), input=await input_content(value, self.upload), **fields)

    async def _post_jobs(self, submit: JobSubmit, query: Query | None = None, poll_s: float = 0.0) -> JobCreated:
        """Send a submission; safe to repeat because it has a key."""
        request = PreparedRequest("POST", "/job", query or {}, body=submit, repeatable=True, poll_s=poll_s)
        return await self.carrier.call(request, JobCreated)


async def to_fields(options: JobOptions, upload: Callable[[Source, str], Awaitable[DataReply]]) -> dict[str, Any]:
    """Return options under the names that they have in a ``JobSpec``; large files are uploaded."""
    fields: dict[str, Any] = {**options}
    files = fields.pop("files", None)
    if "files_of" in fields:
        fields["inputs"] = fields.pop("files_of")
    if files is not None:
        fields["files"] = {name: await file_content(value, upload) for name, value in files.items()}
    return fields


def spec_bytes(spec: JobSpec) -> int:
    """Return about how many bytes input and files add to a submission."""
    contents = [spec.input, *(spec.files or {}).values()]
    return sum(carried_bytes(content) for content in contents if isinstance(content, Content))


async def _batches(specs: AsyncIterator[JobSpec]) -> AsyncIterator[list[JobSpec]]:
    """Group jobs so that no body grows beyond its limits."""
    batch: list[JobSpec] = []
    size = 0
    async for spec in specs:
        added = spec_bytes(spec)
        if batch and (len(batch) >= JOBS_PER_BODY or size + added > BYTES_PER_BODY):
            yield batch
            batch, size = [], 0
        batch.append(spec)
        size += added
    if batch:
        yield batch
