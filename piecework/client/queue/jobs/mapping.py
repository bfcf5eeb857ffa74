"""Running a lambda on many inputs: submitted by the batch, a window of jobs in flight, results in their order."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator, Sized
from contextlib import AbstractContextManager, suppress
from typing import Any, Literal, Protocol, Unpack, overload

from piecework.client.calls import AnyLambda
from piecework.client.errors import ApiError, ServerUnreachable, StillRunning
from piecework.client.modes import Blocking, Method
from piecework.client.queue.jobs.bulk import BulkCalls
from piecework.client.queue.jobs.inputs import Input, carried_bytes
from piecework.client.queue.jobs.jobs import BYTES_PER_BODY, JOBS_PER_BODY, JobOptions, spec_bytes
from piecework.client.queue.jobs.progress import Progress, Tell, open_progress
from piecework.client.queue.jobs.results import JobResult, JobWait
from piecework.client.transport import PreparedRequest
from piecework.http.deadlines import Deadline
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobInfo, JobSpec

WINDOW_JOBS = 4000
"""So many jobs are in flight, or have ended and wait for their turn, at most."""
BATCH_S = 0.05
"""A submission takes no more inputs after this, when they come slowly."""
KEPT_BYTES = 64 * 1024 * 1024
"""So many bytes of outputs wait for their turn at most; beyond, they are read again when it has come."""

Errors = Literal["raise", "return"]
Submitted = Callable[[list[Id]], object]
"""Is told the ids of jobs that were submitted, in the order of their inputs."""


class MapOptions(JobOptions, total=False):
    """Options of ``map``: beside those of its jobs."""

    ordered: bool
    wait_s: float | None
    window: int
    cancel: bool
    progress: bool | Progress
    submitted: Submitted | None


class BlockingMap(Protocol):
    """``map`` of a client that blocks."""

    @overload
    def __call__(
        self,
        lambda_id: AnyLambda,
        inputs: Iterable[Input],
        *,
        errors: Literal["raise"] = ...,
        **options: Unpack[MapOptions],
    ) -> Generator[bytes, None, None]: ...
    @overload
    def __call__(
        self,
        lambda_id: AnyLambda,
        inputs: Iterable[Input],
        *,
        errors: Literal["return"],
        **options: Unpack[MapOptions],
    ) -> Generator[JobResult, None, None]: ...


class SuspendingMap(Protocol):
    """``map`` of a client for an event loop."""

    @overload
    def __call__(
        self,
        lambda_id: AnyLambda,
        inputs: Iterable[Input],
        *,
        errors: Literal["raise"] = ...,
        **options: Unpack[MapOptions],
    ) -> AsyncGenerator[bytes, None]: ...
    @overload
    def __call__(
        self,
        lambda_id: AnyLambda,
        inputs: Iterable[Input],
        *,
        errors: Literal["return"],
        **options: Unpack[MapOptions],
    ) -> AsyncGenerator[JobResult, None]: ...


class MapMethod(Method):
    """The method ``map``: what it gives depends on ``errors``, too."""

    @overload
    def __get__(self, calls: Blocking, owner: type) -> BlockingMap: ...
    @overload
    def __get__(self, calls: object, owner: type) -> SuspendingMap: ...
    def __get__(self, calls: Any, owner: type) -> Any:
        return super().__get__(calls, owner)


class MapCalls(BulkCalls):
    """Many inputs at once."""

    @MapMethod
    def map(
        self,
        lambda_id: AnyLambda,
        inputs: Iterable[Input],
        *,
        errors: Errors = "raise",
        ordered: bool = True,
        wait_s: float | None = None,
        window: int = WINDOW_JOBS,
        cancel: bool = True,
        progress: bool | Progress = False,
        submitted: Submitted | None = None,
        **options: Unpack[JobOptions],
    ) -> AsyncGenerator[bytes | JobResult, None]:
        """Run a lambda on each input and go through the outputs, in the order of the inputs.

        Inputs may be endless: no more than ``window`` jobs are in flight. They are submitted by the batch, between
        the results, so nothing is submitted before the first result is asked for; a batch is submitted once even
        when its answer is lost. ``ordered=False`` gives each result as its job ends.

        A job without an output raises JobFailed or JobCancelled at its place, which ends the iteration; with
        ``errors="return"`` each result is a ``JobResult``, which tells how the job ended. When the iteration ends
        early, by an error, Ctrl-C or ``close()``, the jobs that have not ended are cancelled, unless ``cancel`` is
        false. With a ``key`` and ``cancel=False`` the same call takes up later where it was.

        ``progress`` is True for a bar on a terminal, or is called with how many jobs have ended and how many
        there will be (None: unknown). ``submitted`` is called with the ids of each batch. Other options are those
        of ``submit_many``.
        Raises StillRunning after ``wait_s`` seconds (None: never), and what going through ``inputs`` raises.
        """
        if errors not in {"raise", "return"}:
            raise ValueError(f'errors is {errors!r}, not "raise" or "return"')
        if window < 1:
            raise ValueError(f"a window of {window} jobs is too small: it takes 1 at least")
        if isinstance(inputs, str | bytes):
            raise TypeError("inputs is a single text, not many: give a list of inputs")
        total = len(inputs) if isinstance(inputs, Sized) else None
        deadline = Deadline(wait_s, self.clock)
        specs = self._specs(lambda_id, inputs, options, deadline)
        flight = _Flight(self, specs, window, ordered=ordered, deadline=deadline, submitted=submitted)
        return self._results_of(flight, deadline, open_progress(progress, total), cancel=cancel, errors=errors)

    async def _results_of(
        self,
        flight: "_Flight",
        deadline: Deadline,
        progress: AbstractContextManager[Tell],
        *,
        cancel: bool,
        errors: Errors,
    ) -> AsyncGenerator[bytes | JobResult, None]:
        try:
            with progress as tell:
                while flight.goes_on:
                    late = await flight.submit()
                    await flight.look(hold=not late)
                    tell(flight.ended)
                    for info in flight.take():
                        result = await self.read_end(info)
                        yield result if errors == "return" else result.read()
                    if flight.goes_on and deadline.is_over():
                        raise StillRunning(flight.flying)
        finally:
            if cancel:
                await self._cancel_all(flight.flying)

    async def _cancel_all(self, jobs: list[Id]) -> None:
        """Cancel jobs, those first that will start last; gives up when the server does not answer."""
        for job in reversed(jobs):
            with suppress(ApiError):
                try:
                    await self._steer(PreparedRequest("DELETE", f"/job/{job}"))
                except ServerUnreachable:
                    return


class _Flight:
    """The jobs of one map: those in flight, and those that have ended and wait for their turn."""

    def __init__(
        self,
        client: MapCalls,
        specs: AsyncIterator[JobSpec],
        window: int,
        *,
        ordered: bool,
        deadline: Deadline,
        submitted: "Submitted | None",
    ) -> None:
        self._tell = submitted
        self._watch = JobWait(client.carrier, client.clock, "inline")
        self.ended = 0
        """How many jobs have ended."""
        self._client = client
        self._specs = specs
        self._window = window
        self._ordered = ordered
        self._deadline = deadline
        self._places: dict[Id, int] = {}
        self._kept: dict[int, JobInfo] = {}
        """Jobs that have ended, by the turn that each waits for."""
        self._kept_bytes = 0
        self._submitted = 0
        self._turn = 0
        self._exhausted = False

    @property
    def flying(self) -> list[Id]:
        """The jobs that have not ended, as far as is known, in the order of their submission."""
        return list(self._places)

    @property
    def goes_on(self) -> bool:
        return bool(not self._exhausted or self._places or self._kept)

    async def submit(self) -> bool:
        """Fill the window when half of it is free; tell whether the next input is late."""
        room = self._window - len(self._places) - len(self._kept)
        if room * 2 < self._window:
            return False
        while room and not self._exhausted:
            batch, late = await self._draw(min(room, JOBS_PER_BODY))
            if batch:
                ids = await self._client.within(self._deadline.allow()).post_batch(batch)
                for job in ids:
                    self._places[job] = self._submitted
                    self._submitted += 1
                    self._watch.waiting.append(job)
                if self._tell is not None:
                    self._tell(ids)
            if late:
                return True
            room -= len(batch)
        return False

    async def look(self, *, hold: bool) -> None:
        """Take in the jobs that have ended since; with ``hold``, wait a while for the next."""
        if not self._watch.waiting:
            return
        for info in await self._watch.look(self._deadline, hold=hold):
            place = self._places.pop(info.id)
            size = carried_bytes(info.output or None)
            fits = self._kept_bytes + size <= KEPT_BYTES
            self._kept[place if self._ordered else self.ended] = (
                info if fits else JobResult(info, b"").without_output()
            )
            self._kept_bytes += size if fits else 0
            self.ended += 1

    def take(self) -> Iterator[JobInfo]:
        """Go through the jobs whose turn has come."""
        while (info := self._kept.pop(self._turn, None)) is not None:
            self._turn += 1
            self._kept_bytes -= carried_bytes(info.output or None)
            yield info

    async def _draw(self, most: int) -> tuple[list[JobSpec], bool]:
        """Return the next jobs to submit together, at most ``most``, and whether further inputs are late."""
        batch: list[JobSpec] = []
        size = 0
        until = self._client.clock() + BATCH_S
        async for spec in self._specs:
            batch.append(spec)
            size += spec_bytes(spec)
            if len(batch) == most or size >= BYTES_PER_BODY:
                return batch, False
            if self._client.clock() >= until:
                return batch, True
        self._exhausted = True
        return batch, False
