"""From a leased job to a task: what it needs is fetched while other jobs run, then the executor gets it."""

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import structlog

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

log = structlog.get_logger()


class UnfitError(Exception):
    """The job cannot be run as it is; ``kind`` and the message are for its outcome."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Intake:
    """Brings leased jobs to the executor."""

    def __init__(
        self, fetcher: BlobFetcher, ledger: Ledger, executor: GuestExecutor, finisher: Finisher, crew: Crew
    ) -> None:
        self._fetcher = fetcher
        self._ledger = ledger
        self._executor = executor
        self._finisher = finisher
        self._crew = crew

    def accept(self, jobs: Sequence[LeasedJob], lambdas: Sequence[LeasedLambda]) -> None:
        """See to it that each job is run, or ends with the reason why not. Does not wait for downloads."""
        known = {each.id: each for each in lambdas}
        for job in jobs:
            work = partial(self._prepare, job, known.get(job.lambda_))
            give_up = partial(self._finisher.give_up, ref_of(job))
            if self._is_at_hand(job, known.get(job.lambda_)):
                do_guarded(work, partial(self._crew.give, give_up))
            else:
                self._crew.give(work, give_up)

    def _is_at_hand(self, job: LeasedJob, lambda_: LeasedLambda | None) -> bool:
        return (
            lambda_ is not None
            and self._fetcher.holds(lambda_.codex_checksum)
            and (job.input.is_inline or not job.input.id or self._fetcher.holds(job.input_checksum))
        )

    def _prepare(self, job: LeasedJob, lambda_: LeasedLambda | None) -> None:
        ref = ref_of(job)
        try:
            if lambda_ is None:
                raise UnfitError(ErrorKind.WORKER, f"the contract has no lambda {job.lambda_}")
            codex = self._get_codex(ref, lambda_)
            task = write_task(job, lambda_, codex, self._get_input(ref, job))
        except UnfitError as error:
            self._finisher.fail(ref, error.kind, str(error))
        except NotWantedError:
            return
        except (AgentError, OSError) as error:
            self._finisher.fail(ref, ErrorKind.WORKER, f"the worker could not prepare the job: {error}")
        else:
            self._submit(ref, task)
        finally:
            # The ledger releases when a lease ends; this one may have ended before its blobs were here.
            if not self._ledger.is_open(ref):
                self._fetcher.release(ref)

    def _get_codex(self, ref: LeaseRef, lambda_: LeasedLambda) -> Path:
        missing = UnfitError(ErrorKind.LOAD, f"the codex {lambda_.codex} of lambda {lambda_.id} does not exist")
        if not lambda_.codex_checksum:
            raise missing
        try:
            return self._fetcher.get(ref, lambda_.codex, lambda_.codex_checksum, self._ledger.is_open)
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
            return self._fetcher.get(ref, Id(blob), job.input_checksum, self._ledger.is_open)
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
