"""From a leased job to a task: what it needs is fetched while other jobs run, then the executor gets it."""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from piecework.client import NotFound
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import NO_ID, Id
from piecework.protocol.messages import LeasedJob, LeasedLambda, LeaseRef
from worker_agent.errors import AgentError, ExecutorStoppedError
from worker_agent.loop.control import GuestExecutor
from worker_agent.loop.crew import Crew, do_guarded
from worker_agent.loop.fetching import BlobFetcher, NotWantedError
from worker_agent.loop.finishing import Finisher
from worker_agent.loop.ledger import Ledger, hand_back
from worker_agent.loop.outbox import ref_of
from worker_agent.tasks import Task

T = TypeVar("T")


class UnfitError(Exception):
    """The job cannot be run as it is; ``kind`` and the message are for its outcome."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Intake:
    """Brings leased jobs to the executor."""

    def __init__(
        self, ledger: Ledger, fetcher: BlobFetcher, executor: GuestExecutor, finisher: Finisher, crew: Crew
    ) -> None:
        self._fetcher = fetcher
        self._ledger = ledger
        self._executor = executor
        self._finisher = finisher
        self._crew = crew

    def accept(self, jobs: Sequence[LeasedJob], lambdas: Sequence[LeasedLambda]) -> None:
        """See to it that each job is run, or ends with the reason why not. Does not wait for downloads."""
        known = {each.id: each for each in lambdas}
        by_lambda: defaultdict[Id, list[LeasedJob]] = defaultdict(list)
        for job in jobs:
            by_lambda[job.lambda_].append(job)
        for id_, group in by_lambda.items():
            self._accept_group(group, known.get(id_))

    def _accept_group(self, jobs: Sequence[LeasedJob], lambda_: LeasedLambda | None) -> None:
        """Deal with the jobs of one lambda."""
        if lambda_ is None:
            for job in jobs:
                message = f"the contract does not describe lambda {job.lambda_}"
                self._finisher.fail(ref_of(job), ErrorKind.WORKER, message)
        elif self._fetcher.holds(lambda_.codex_checksum):
            self._route(jobs, lambda_)
        else:
            give_up = partial(self._finisher.give_up, [ref_of(job) for job in jobs])
            self._crew.give(partial(self._bring_code, jobs, lambda_), give_up)

    def _bring_code(self, jobs: Sequence[LeasedJob], lambda_: LeasedLambda) -> None:
        """Fetch the code of some jobs, then deal with them in their order."""
        for number, job in enumerate(jobs):
            with suppress(NotWantedError):
                left = jobs[number:]
                refs = [ref_of(each) for each in left]
                if self._try(refs, partial(self._get_codex, ref_of(job), lambda_)) is not None:
                    self._route(left, lambda_)
                return

    def _route(self, jobs: Sequence[LeasedJob], lambda_: LeasedLambda) -> None:
        """Submit the jobs whose inputs are at hand, and have the inputs of the others fetched."""
        for job in jobs:
            work = partial(self._prepare, job, lambda_)
            give_up = partial(self._finisher.give_up, [ref_of(job)])
            if job.input.is_inline or not job.input.id or self._fetcher.holds(job.input_checksum):
                do_guarded(work, partial(self._crew.give, give_up))
            else:
                self._crew.give(work, give_up)

    def _prepare(self, job: LeasedJob, lambda_: LeasedLambda) -> None:
        ref = ref_of(job)
        with suppress(NotWantedError):
            task = self._try([ref], partial(self._write_task, ref, job, lambda_))
            if task is not None:
                self._submit(ref, task)

    def _try(self, refs: Sequence[LeaseRef], get: Callable[[], T]) -> T | None:
        """Get something that jobs need; None: that failed, and they have ended with the reason.

        Raises NotWantedError.
        """
        try:
            return get()
        except UnfitError as error:
            kind, message = error.kind, str(error)
        except (AgentError, OSError) as error:
            kind, message = ErrorKind.WORKER, f"the worker could not prepare the job: {error}"
        for ref in refs:
            self._finisher.fail(ref, kind, message)
        return None

    def _write_task(self, ref: LeaseRef, job: LeasedJob, lambda_: LeasedLambda) -> Task:
        return write_task(job, lambda_, self._get_codex(ref, lambda_), self._get_input(ref, job))

    def _get_codex(self, ref: LeaseRef, lambda_: LeasedLambda) -> Path:
        missing = UnfitError(ErrorKind.LOAD, f"the codex {lambda_.codex} of lambda {lambda_.id} does not exist")
        if not lambda_.codex_checksum:
            raise missing
        try:
            return self._fetcher.get(ref, lambda_.codex, lambda_.codex_checksum)
        except NotFound:
            raise missing from None

    def _get_input(self, ref: LeaseRef, job: LeasedJob) -> bytes | Path:
        if job.input.is_inline:
            try:
                return job.input.read()
            except ValueError as error:
                raise UnfitError(ErrorKind.INPUT, f"the input is broken: {error}") from error
        blob = job.input.id or NO_ID
        if blob == NO_ID:
            return b""
        missing = UnfitError(ErrorKind.INPUT, f"the input {blob} does not exist")
        if not job.input_checksum:
            raise missing
        try:
            return self._fetcher.get(ref, Id(blob), job.input_checksum)
        except NotFound:
            raise missing from None

    def _submit(self, ref: LeaseRef, task: Task) -> None:
        if not self._ledger.start(ref):
            return
        try:
            self._executor.submit(task)
        except ExecutorStoppedError:
            self._ledger.end(hand_back(ref))
            return
        # Whoever stops a job tells the ledger first and the executor then: one of us sees the other.
        if not self._ledger.is_open(ref) or self._ledger.stop_asked(ref):
            self._executor.cancel(task.job, task.lease)


def write_task(job: LeasedJob, lambda_: LeasedLambda, codex: Path, data: bytes | Path) -> Task:
    """Put together what the executor needs to know."""
    return Task(
        job=job.job,
        lease=job.lease,
        attempt=job.attempt,
        runtime=lambda_.runtime,
        codex=codex,
        codex_checksum=lambda_.codex_checksum,
        input=data,
        limits=job.limits,
        args=tuple(job.args),
        env=job.env,
        grants=lambda_.grants,
        deterministic=lambda_.deterministic,
        seed=find_seed(job, lambda_) if lambda_.deterministic else b"",
        mode=lambda_.mode,
    )


def find_seed(job: LeasedJob, lambda_: LeasedLambda) -> bytes:
    """Return what a deterministic run draws clock and random from: the same call has the same seed."""
    env = [part for item in sorted(job.env.items()) for part in item]
    parts = [lambda_.codex_checksum, job.input_checksum, *job.args, "", *env]
    return hashlib.sha256("\0".join(parts).encode()).digest()
