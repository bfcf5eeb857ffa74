"""What happens when a job has run: its result becomes an outcome, its output goes to the server."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import structlog
from msgspec import UNSET

from piecework.client import ClientError, TooLarge
from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages import Content, JobError, LeaseRef, Outcome
from piecework.protocol.states import JobState
from worker_agent.jobs.executing import Ended
from worker_agent.jobs.job_logger import JobLogger
from worker_agent.jobs.leases.fitness import Fitness
from worker_agent.jobs.leases.lease_table import hand_back
from worker_agent.jobs.leases.outbox import ref_of
from worker_agent.jobs.leases.prefetching import Prefetching
from worker_agent.jobs.shared import JobsShared
from worker_agent.jobs.work.thread_pool import ThreadPool
from worker_agent.link.link import describe, is_refusal
from worker_agent.tasks import LeasedTask, Result

log = structlog.get_logger()


class Finisher:
    """Turns results into outcomes in the lease table. Small outputs travel inside, larger ones are uploaded."""

    def __init__(
        self,
        shared: JobsShared,
        pool: ThreadPool,
        *,
        prefetching: Prefetching,
        job_logger: JobLogger,
        fitness: Fitness,
        inline_max_bytes: int,
    ) -> None:
        self._shared = shared
        self._lease_table = shared.lease_table
        self._pool = pool
        self._prefetching = prefetching
        self._job_logger = job_logger
        self._fitness = fitness
        self._inline_max_bytes = inline_max_bytes

    def done(self, ended: Ended) -> None:
        """Take what the executor made of some tasks. Returns at once; called from its thread."""
        outcomes: list[Outcome] = []
        for task, result in ended:
            try:
                outcomes += self._take(task, result)
            except Exception:
                log.exception("bug", job=task.job)
                self._pool.give(partial(self.give_up, [ref_of(task)]))
        self.end(*outcomes)

    def fail(self, ref: LeaseRef, kind: ErrorKind, message: str) -> None:
        """End a job that could not be run."""
        error = JobError(kind=kind, message=message).clean()
        self.end(Outcome(job=ref.job, lease=ref.lease, state=JobState.FAILED, error=error))

    def return_unprepared(self, refs: Iterable[LeaseRef], why: str) -> None:
        """Hand back jobs that this node cannot prepare, or whose output it cannot keep; it takes no others."""
        self._fitness.falter(why)
        error = JobError(kind=ErrorKind.WORKER, message=why)
        self._lease_table.end(*(hand_back(ref, error) for ref in refs))

    def end(self, *outcomes: Outcome) -> None:
        """Let outcomes go to the server, those whose leases still count."""
        self._job_logger.note_ends(self._lease_table.end(*outcomes))

    def give_up(self, refs: Iterable[LeaseRef]) -> None:
        """Hand back, after a pause, jobs that met a bug of ours."""
        self._shared.stop.wait(self._shared.pace.bug_s)
        self._lease_table.end(*map(hand_back, refs))

    def _take(self, task: LeasedTask, result: Result) -> list[Outcome]:
        """Return the outcome; none when its output has yet to be uploaded."""
        if result.unfit and result.error and not self._lease_table.stop_asked(ref_of(task)):
            self._pool.give(partial(self.return_unprepared, [ref_of(task)], result.error.message))
            return []
        outcome = self._write_outcome(task, result)
        if isinstance(result.output, bytes) and len(result.output) <= self._inline_max_bytes:
            if outcome.state is JobState.FINISHED or (outcome.state is JobState.FAILED and result.output):
                outcome.output = Content(raw=result.output)
            return [outcome]
        output = result.output if isinstance(result.output, bytes) else Path(result.output.path)
        self._pool.give(partial(self._finish_large, outcome, output), partial(self.give_up, [ref_of(outcome)]))
        return []

    def _write_outcome(self, task: LeasedTask, result: Result) -> Outcome:
        """Return the outcome without its output."""
        ref = ref_of(task)
        asked = self._lease_table.stop_asked(ref)
        killed = result.error is not None and result.error.kind is ErrorKind.WORKER
        if result.cancelled or (asked and killed):
            state = asked or JobState.ENQUEUED
        else:
            state = JobState.FAILED if result.error else JobState.FINISHED
            if killed:
                self._prefetching.sicken()
            elif result.usage.wall_s is not None:
                self._prefetching.observe(ref, result.usage.wall_s)
        if state is JobState.ENQUEUED:
            return hand_back(ref)
        outcome = Outcome(
            job=ref.job, lease=ref.lease, state=state, usage=result.usage, log_offset=result.log_offset
        )
        outcome.log = result.log or UNSET
        outcome.error = result.error if state is JobState.FAILED else UNSET
        outcome.exit_code = result.exit_code or UNSET
        return outcome

    def _finish_large(self, outcome: Outcome, output: bytes | Path) -> None:
        """Bring an output to the server, then let its outcome go; whatever happens, its file is removed."""
        try:
            if outcome.state not in {JobState.FINISHED, JobState.FAILED}:
                self.end(outcome)
            elif self._fits_inline(output):
                outcome.output = Content(raw=output.read_bytes() if isinstance(output, Path) else output)
                self.end(outcome)
            else:
                self._upload(outcome, output)
        except OSError as error:
            if outcome.state is JobState.FAILED:
                self.end(outcome)
                return
            self.return_unprepared([ref_of(outcome)], f"the output cannot be read on the worker: {error.strerror}")
        finally:
            if isinstance(output, Path):
                output.unlink(missing_ok=True)

    def _fits_inline(self, output: bytes | Path) -> bool:
        size = output.stat().st_size if isinstance(output, Path) else len(output)
        return size <= self._inline_max_bytes

    def _upload(self, outcome: Outcome, output: bytes | Path) -> None:
        """Upload until it works, the server refuses, or nobody wants the outcome any more."""
        backoff = self._shared.new_backoff()
        ref = ref_of(outcome)
        while self._lease_table.is_open(ref) and not self._shared.stop.is_set():
            try:
                outcome.output = str(int(self._shared.server.upload(output).id))
            except TooLarge as error:
                self._end_without_output(outcome, ErrorKind.OUTPUT, error.message)
                return
            except ClientError as error:
                if is_refusal(error):
                    self._end_without_output(outcome, ErrorKind.WORKER, describe(error))
                    return
                self._shared.link.failed(error)
                self._shared.stop.wait(backoff.next_s(error))
            else:
                self._shared.link.answered()
                self.end(outcome)
                return

    def _end_without_output(self, outcome: Outcome, kind: ErrorKind, why: str) -> None:
        """End a job whose output the server does not take; one that failed anyway fails as it did."""
        if outcome.state is JobState.FAILED:
            self.end(outcome)
        else:
            self.fail(ref_of(outcome), kind, f"the server refuses the output: {why}")
