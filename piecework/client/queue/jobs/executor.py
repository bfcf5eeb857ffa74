"""A lambda as an executor of ``concurrent.futures``: its jobs are futures."""

import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

from piecework.client.errors import ClientError
from piecework.client.modes import run
from piecework.client.queue.jobs.handles import Job
from piecework.client.queue.jobs.inputs import Input
from piecework.client.queue.jobs.jobs import JobOptions
from piecework.client.queue.jobs.results import JobWait
from piecework.http.deadlines import NEVER, Deadline
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobInfo
from piecework.protocol.states import JobState

if TYPE_CHECKING:
    from piecework.client.api import Client

LOOK_S = 0.5
"""A request that waits for an executor's jobs ends after this: it does not wait for those that came meanwhile."""


class JobFuture(Future[bytes]):
    """The output of a job, which comes. ``exception()`` is JobFailed, or JobCancelled when others cancelled it."""

    def __init__(self, job: Job) -> None:
        super().__init__()
        self.job = job
        """The job itself, for its state and log."""
        self._is_asked_back = False

    def cancel(self) -> bool:
        """Cancel the job, also one that runs. Returns False when it has ended before.

        Raises ServerUnreachable, and what else ``Client.cancel`` raises.
        """
        if not self.done():
            self._is_asked_back = True
            self.job.cancel()
            if self.job.status() is JobState.CANCELLED:
                super().cancel()
        return self.cancelled()

    def settle(self, end: JobInfo) -> None:
        """Take note of how the job ended; large outputs are fetched."""
        if self._is_asked_back and end.state is JobState.CANCELLED:
            super().cancel()
        if not self.set_running_or_notify_cancel():
            return
        try:
            output = self.job.client.read_end(end).read()
        except ClientError as error:
            self.set_exception(error)
        else:
            self.set_result(output)


class JobExecutor(Executor):
    """Runs a lambda on inputs, as jobs. Threads may share it.

    One thread, which is there while there are jobs, waits for all of them; it does not keep a program from ending:
    the jobs go on then. Use it in a ``with`` block, or ``shutdown`` it, to wait for them.
    """

    def __init__(self, client: "Client", lambda_id: int | str, options: JobOptions) -> None:
        self._client = client
        self._lambda = lambda_id
        self._options = options
        self._change = threading.Condition()
        """Held around the use of all that follows; notified when no jobs are left."""
        self._flying: dict[Id, list[JobFuture]] = {}
        self._new: list[Id] = []
        self._is_closed = False
        self._is_watched = False

    def submit(self, input: Input = None, /) -> JobFuture:  # type: ignore[override]  # noqa: A002  # its name on the wire
        """Submit a job on an input and return the future of its output.

        Raises RuntimeError after ``shutdown``, and what ``Client.submit`` raises.
        """
        self._check_open()
        return self._watch([self._client.submit(self._lambda, input, **self._copy_options())])[0]

    def map(  # type: ignore[override]  # what is run is known, and not said again
        self, inputs: Iterable[Input], /, *, timeout: float | None = None
    ) -> Iterator[bytes]:
        """Submit a job on each input now, and go through the outputs in the order of the inputs.

        Raises at its place what a job failed with, and TimeoutError ``timeout`` seconds after this call (None:
        never). What has not ended then, or when the iteration is closed, is cancelled. For endless inputs there is
        ``Client.map``.
        """
        self._check_open()
        deadline = Deadline(timeout)
        jobs = self._client.submit_many(self._lambda, inputs, **self._copy_options())
        return self._results(self._watch(jobs), deadline, timeout)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more inputs; cancel the jobs if asked to, and wait for all of them unless told not to."""
        with self._change:
            self._is_closed = True
            left = [future for futures in self._flying.values() for future in futures]
        if cancel_futures:
            for future in left:
                future.cancel()
        if wait:
            with self._change:
                self._change.wait_for(lambda: not self._is_watched)

    def _copy_options(self) -> JobOptions:
        return self._options.copy()

    def _check_open(self) -> None:
        if self._is_closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    @staticmethod
    def _results(futures: list[JobFuture], deadline: Deadline, timeout: float | None) -> Iterator[bytes]:
        futures.reverse()
        try:
            while futures:
                yield futures[-1].result(None if timeout is None else deadline.shorten(timeout))
                futures.pop()
        finally:
            for future in futures:
                future.cancel()

    def _watch(self, jobs: list[Job]) -> list[JobFuture]:
        """Have jobs waited for, and return their futures."""
        futures = [JobFuture(job) for job in jobs]
        with self._change:
            for future in futures:
                self._flying.setdefault(future.job.id, []).append(future)
                self._new.append(future.job.id)
            if futures and not self._is_watched:
                self._is_watched = True
                threading.Thread(target=self._settle_all, name="piecework-executor", daemon=True).start()
        return futures

    def _settle_all(self) -> None:
        watch = JobWait(self._client.core.carrier, self._client.clock, "inline", longest_poll_s=LOOK_S)
        while self._take_new(watch):
            try:
                ended = run(watch.look(NEVER))
            except ClientError as error:
                self._give_up(watch, error)
            else:
                for info in ended:
                    self._settle(info)

    def _take_new(self, watch: JobWait) -> bool:
        """Have new jobs waited for too; tell whether there are any at all."""
        with self._change:
            watch.waiting.extend(dict.fromkeys(self._new))
            self._new.clear()
            self._is_watched = bool(watch.waiting)
            if not self._is_watched:
                self._change.notify_all()
            return self._is_watched

    def _settle(self, info: JobInfo) -> None:
        with self._change:
            futures = self._flying.pop(info.id, [])
        for future in futures:
            future.settle(info)

    def _give_up(self, watch: JobWait, error: ClientError) -> None:
        """Have all futures fail with what the server, or its silence, says."""
        with self._change:
            futures = [future for futures in self._flying.values() for future in futures]
            self._flying.clear()
            self._new.clear()
            watch.waiting.clear()
        for future in futures:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
