"""Handles of jobs: ids that know their client."""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Self, cast, overload

from piecework.client.modes import Blocking, Method, call, go_through, iteration, run
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobFile, JobInfo, JobLogs
from piecework.protocol.states import JobState

if TYPE_CHECKING:
    from piecework.client.api import Client, ServerCalls
    from piecework.client.async_api import AsyncClient

P = ParamSpec("P")


class JobHandle(Id):
    """A job that was submitted: its id, and what can be asked of it and done to it.

    It is the id wherever one is taken: equal to it, hashed, written, sent and pickled as it. As the input of
    another job it stands for what this one produces.
    """

    _calls: "ServerCalls"
    _given: Any
    _end: JobInfo | None = None
    """How it ended, with a small output; None while that is not known here."""

    def __new__(cls, job_id: Id, client: Any, end: JobInfo | None = None) -> Self:
        """Return the handle of a job at a client's server."""
        job = super().__new__(cls, job_id)
        job._given = client
        job._calls = client.core if isinstance(client, Blocking) else client
        job._end = end
        return job

    @property
    def id(self) -> Id:
        """Its id alone."""
        return Id(self)

    @call
    async def result(self, timeout_s: float | None = None) -> bytes:
        """Wait until it has ended and return its output.

        Raises JobFailed or JobCancelled when it has none, StillRunning after ``timeout_s`` seconds (None: never).
        """
        if self._end is None:
            return await self._calls.result(self, timeout_s)
        return (await self._calls.read_end(self._end)).read()

    @call
    async def wait(self, timeout_s: float | None = None) -> JobInfo:
        """Wait until it has ended, however that is, and return it. Raises StillRunning as ``result`` does."""
        return self._end or (await self._calls.wait([self], timeout_s))[0]

    @call
    async def status(self) -> JobState:
        """Return its state as it is now; a word, such as ``running``."""
        return (await self._calls.job(self)).state

    @call
    async def info(self) -> JobInfo:
        """Return all that is known of it now, with advice when nothing can run it."""
        return await self._calls.job(self)

    @call
    async def files(self) -> list[JobFile]:
        """Return the files that it gave back; none until it has ended."""
        return await self._calls.output_files(self)

    @call
    async def read_file(self, name: str) -> bytes:
        """Return the bytes of a file that it gave back. Raises NotFound."""
        return await self._calls.read_file(self, name)

    @call
    async def download_files(self, folder: Path) -> list[Path]:
        """Write all files that it gave back into a folder, which is made, and return where they are."""
        return await self._calls.download_files(self, folder)

    @call
    async def cancel(self) -> str:
        """Cancel it and return what the server says; if it has ended it stays as it is."""
        return await self._calls.cancel(self)

    @call
    async def logs(self) -> JobLogs:
        """Return what is kept of the logs of all its attempts."""
        return await self._calls.logs(self)

    @iteration
    def follow_log(self) -> AsyncIterator[str]:
        """Go through its log as it grows, until it has ended and all of its log was read."""
        return self._calls.follow_log(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({int(self)})"

    __str__ = int.__repr__

    def __reduce__(self) -> tuple[Callable[[int], Id], tuple[int]]:
        return Id, (int(self),)


class Job(JobHandle, Blocking):
    """A job that was submitted: its id, and what can be asked of it and done to it.

    It is the id wherever one is taken: equal to it, hashed, written, sent and pickled as it. As the input of
    another job it stands for what this one produces.
    """

    @property
    def core(self) -> Self:
        return self

    @property
    def client(self) -> "Client":
        """The client that submitted it."""
        return cast("Client", self._given)


class AsyncJob(JobHandle):
    """A job that was submitted with an ``AsyncClient``: as ``Job``, to be awaited."""

    @property
    def client(self) -> "AsyncClient":
        """The client that submitted it."""
        return cast("AsyncClient", self._given)


class Submits(Method, Generic[P]):
    """A method that gives a job's id, and its handle to callers."""

    def __init__(self, method: Callable[..., Any]) -> None:
        super().__init__(method)

        @wraps(method)
        async def suspending(client: Any, *args: Any, **kwargs: Any) -> Any:
            return _handle(await method(client, *args, **kwargs), client, AsyncJob)

        self._suspending = suspending

    @staticmethod
    def _block(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda client, *args, **kwargs: _handle(run(method(client.core, *args, **kwargs)), client, Job)

    @overload
    def __get__(self, calls: Blocking, owner: type) -> Callable[P, Job]: ...
    @overload
    def __get__(self, calls: object, owner: type) -> Callable[P, Coroutine[Any, Any, AsyncJob]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        return super().__get__(calls, owner)


class SubmitsMany(Submits[P]):
    """A method that gives ids of jobs, and their handles to callers."""

    @overload  # type: ignore[override]  # what differs is how many there are
    def __get__(self, calls: Blocking, owner: type) -> Callable[P, list[Job]]: ...
    @overload
    def __get__(self, calls: object, owner: type) -> Callable[P, Coroutine[Any, Any, list[AsyncJob]]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        return super().__get__(calls, owner)


class Completes(Method, Generic[P]):
    """A method that goes through jobs as they end, and gives handles that know how."""

    def __init__(self, method: Callable[..., Any]) -> None:
        super().__init__(method)

        @wraps(method)
        async def suspending(client: Any, *args: Any, **kwargs: Any) -> AsyncIterator[AsyncJob]:
            async for info in method(client, *args, **kwargs):
                yield AsyncJob(info.id, client, info)

        self._suspending = suspending

    @staticmethod
    def _block(method: Callable[..., Any]) -> Callable[..., Any]:
        def blocking(client: Any, *args: Any, **kwargs: Any) -> Iterator[Job]:
            for info in go_through(method(client.core, *args, **kwargs)):
                yield Job(info.id, client, info)

        return blocking

    @overload
    def __get__(self, calls: Blocking, owner: type) -> Callable[P, Iterator[Job]]: ...
    @overload
    def __get__(self, calls: object, owner: type) -> Callable[P, AsyncIterator[AsyncJob]]: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        return super().__get__(calls, owner)


def _handle(found: Any, client: Any, kind: type[JobHandle]) -> Any:
    return [kind(job, client) for job in found] if isinstance(found, list) else kind(found, client)


def submits(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, Id]]) -> Submits[P]:
    """Have callers of a method get the handle of the job whose id it gives."""
    return Submits(method)


def submits_many(method: Callable[Concatenate[Any, P], Coroutine[Any, Any, list[Id]]]) -> SubmitsMany[P]:
    """Have callers of a method get the handles of the jobs whose ids it gives."""
    return SubmitsMany(method)


def completes(method: Callable[Concatenate[Any, P], AsyncIterator[JobInfo]]) -> Completes[P]:
    """Have callers of a method get the handles of the jobs that it goes through."""
    return Completes(method)


def as_completed(jobs: Iterable[Job], timeout_s: float | None = None) -> Iterator[Job]:
    """Go through jobs as they end, whatever became of them; ``result`` of those needs no further request.

    What comes is equal to what was given, and holds its small output: what was given stays small. One request
    waits for up to 200 jobs. Raises StillRunning after ``timeout_s`` seconds (None: never), and ValueError for
    jobs of several servers.
    """
    found = list(jobs)
    return _client_of(found).as_completed(found, timeout_s) if found else iter(())


def gather(jobs: Iterable[Job], timeout_s: float | None = None) -> list[bytes]:
    """Wait for all jobs, in one request for up to 200 at a time, and return their outputs in the order given.

    Raises JobFailed or JobCancelled for the first that ends without one; the others go on. Raises StillRunning
    after ``timeout_s`` seconds (None: never), and ValueError for jobs of several servers.
    """
    found = list(jobs)
    return _client_of(found).gather(found, timeout_s) if found else []


def _client_of(jobs: list[Job]) -> "Client":
    client = jobs[0].client
    if any(job.client.url != client.url for job in jobs):
        raise ValueError("the jobs are those of several servers: wait for those of each apart")
    return client
