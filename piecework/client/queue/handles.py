"""Handles of jobs: ids that know their client."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Self, cast

from piecework.client.calls import CallGroup
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobFile, JobInfo, JobLogs
from piecework.protocol.states import JobState

if TYPE_CHECKING:
    from piecework.client.api import Client


class Job(Id):
    """A job that was submitted: its id, and what can be asked of it and done to it.

    It is the id wherever one is taken: equal to it, hashed, written, sent and pickled as it. As the input of
    another job it stands for what this one produces.
    """

    _client: "Client"
    _end: JobInfo | None = None
    """How it ended, with a small output; None while that is not known here."""

    def __new__(cls, job_id: Id, group: CallGroup, end: JobInfo | None = None) -> Self:
        """Return the handle of a job at the server of ``group``, which is a whole client."""
        job = super().__new__(cls, job_id)
        job._client = cast("Client", group)
        job._end = end
        return job

    @property
    def id(self) -> Id:
        """Its id alone."""
        return Id(self)

    @property
    def client(self) -> "Client":
        """The client that submitted it."""
        return self._client

    def result(self, timeout_s: float | None = None) -> bytes:
        """Wait until it has ended and return its output.

        Raises JobFailed or JobCancelled when it has none, StillRunning after ``timeout_s`` seconds (None: never).
        """
        if self._end is None:
            return self._client.result(self, timeout_s)
        return self._client.read_end(self._end).read()

    def wait(self, timeout_s: float | None = None) -> JobInfo:
        """Wait until it has ended, however that is, and return it. Raises StillRunning as ``result`` does."""
        return self._end or self._client.wait([self], timeout_s)[0]

    def status(self) -> JobState:
        """Return its state as it is now; a word, such as ``running``."""
        return self.info().state

    def info(self) -> JobInfo:
        """Return all that is known of it now, with advice when nothing can run it."""
        return self._client.job(self)

    def files(self) -> list[JobFile]:
        """Return the files that it gave back; none until it has ended."""
        return self._client.output_files(self)

    def read_file(self, name: str) -> bytes:
        """Return the bytes of a file that it gave back. Raises NotFound."""
        return self._client.read_file(self, name)

    def download_files(self, folder: Path) -> list[Path]:
        """Write all files that it gave back into a folder, which is made, and return where they are."""
        return self._client.download_files(self, folder)

    def cancel(self) -> str:
        """Cancel it and return what the server says; if it has ended it stays as it is."""
        return self._client.cancel(self)

    def logs(self) -> JobLogs:
        """Return what is kept of the logs of all its attempts."""
        return self._client.logs(self)

    def follow_log(self) -> Iterator[str]:
        """Go through its log as it grows, until it has ended and all of its log was read."""
        return self._client.follow_log(self)

    def __repr__(self) -> str:
        return f"Job({int(self)})"

    __str__ = int.__repr__

    def __reduce__(self) -> tuple[Callable[[int], Id], tuple[int]]:
        return Id, (int(self),)


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
