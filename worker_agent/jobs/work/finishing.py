"""What happens when a job has run: its result becomes an outcome, its output goes to the server."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeGuard

import structlog
from msgspec import UNSET

from piecework.protocol.codes import ErrorKind
from piecework.protocol.job_files import PATH_RULE
from piecework.protocol.messages import Content, JobError, LeaseRef, Outcome
from piecework.protocol.states import JobState
from piecework.worker_agent.jobs.executing import Ended
from piecework.worker_agent.jobs.job_logger import JobLogger
from piecework.worker_agent.jobs.leases.fitness import Fitness
from piecework.worker_agent.jobs.leases.lease_table import hand_back
from piecework.worker_agent.jobs.leases.outbox import ref_of
from piecework.worker_agent.jobs.leases.prefetching import Prefetching
from piecework.worker_agent.jobs.shared import JobsShared
from piecework.worker_agent.jobs.work.collecting import TooMuchError, collect
from piecework.worker_agent.jobs.work.fetching import BlobFetcher, NotWantedError
from piecework.worker_agent.jobs.work.job_folders import JobFolders
from piecework.worker_agent.jobs.work.receipts import ReceiptMaker
from piecework.worker_agent.jobs.work.replays import report_replay
from piecework.worker_agent.jobs.work.thread_pool import ThreadPool
from piecework.worker_agent.jobs.work.uploading import NotTakenError, Uploader
from piecework.worker_agent.runtimes.base import OURS, PARTIAL_BYTES, Bounds
from piecework.worker_agent.tasks import File, JobFolder, LeasedTask, ReplayDraft, Result

log = structlog.get_logger()

PRODUCTIVE = frozenset({JobState.FINISHED, JobState.FAILED})
"""States whose jobs have outputs."""


class _Produced(NamedTuple):
    """What a guest left: bytes, or files that belong to us."""

    output: bytes | Path
    journal: bytes | Path
    """Empty: its run was not recorded."""

    @classmethod
    def of(cls, result: Result) -> "_Produced":
        """Return what a result has."""
        output, journal = (
            Path(each.path) if isinstance(each, File) else each or b"" for each in (result.output, result.journal)
        )
        return cls(output, journal)

    def discard(self) -> None:
        """Remove the files. Safe to repeat."""
        for each in self:
            if isinstance(each, Path):
                each.unlink(missing_ok=True)


class Finisher:
    """Turns results into outcomes in the lease table. Small outputs travel inside, larger ones are uploaded."""

    def __init__(
        self,
        shared: JobsShared,
        pool: ThreadPool,
        fetcher: BlobFetcher,
        *,
        prefetching: Prefetching,
        job_logger: JobLogger,
        fitness: Fitness,
        folders: JobFolders,
        receipts: ReceiptMaker,
        inline_max_bytes: int,
    ) -> None:
        self._shared = shared
        self._lease_table = shared.lease_table
        self._pool = pool
        self._fetcher = fetcher
        self._prefetching = prefetching
        self._job_logger = job_logger
        self._fitness = fitness
        self._folders = folders
        self._receipts = receipts
        self._inline_max_bytes = inline_max_bytes
        self._uploader = Uploader(shared, inline_max_bytes)

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
        # The lease of a job may have been lost while its guest wrote into its directory, which was removed then.
        left = [ref_of(task) for task, _ in ended if task.task.folder is not None]
        self._folders.release(ref for ref in left if not self._lease_table.is_open(ref))

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
        produced = _Produced.of(result)
        if result.unfit and result.error and not self._lease_table.stop_asked(ref_of(task)):
            produced.discard()
            self._pool.give(partial(self.return_unprepared, [ref_of(task)], result.error.message))
            return []
        outcome = self._write_outcome(task, result)
        if task.replay is not None and outcome.state in PRODUCTIVE:
            report = partial(self._report_replay, task, task.replay, result, produced)
            self._pool.give(report, partial(self.give_up, [ref_of(task)]))
            return []
        folder = _find_folder(task, result, outcome)
        output, journal = produced
        if folder is None and self._is_small(output) and self._is_small(journal):
            if outcome.state is JobState.FINISHED or (outcome.state is JobState.FAILED and output):
                outcome.output = Content(raw=output)
            if outcome.state in PRODUCTIVE and journal:
                outcome.journal = Content(raw=journal)
            outcome.receipt = self._receipts.sign(task, outcome)
            return [outcome]
        finish = partial(self._finish_slowly, task, outcome, produced, folder)
        self._pool.give(finish, partial(self.give_up, [ref_of(outcome)]))
        return []

    def _is_small(self, data: bytes | Path) -> TypeGuard[bytes]:
        return isinstance(data, bytes) and len(data) <= self._inline_max_bytes

    def _write_outcome(self, task: LeasedTask, result: Result) -> Outcome:
        """Return the outcome without its output."""
        ref = ref_of(task)
        state = self._find_state(ref, result)
        if state is JobState.ENQUEUED:
            return hand_back(ref)
        outcome = Outcome(
            job=ref.job, lease=ref.lease, state=state, usage=result.usage, log_offset=result.log_offset
        )
        outcome.log = result.log or UNSET
        outcome.error = result.error if state is JobState.FAILED else UNSET
        outcome.exit_code = result.exit_code or UNSET
        return outcome

    def _find_state(self, ref: LeaseRef, result: Result) -> JobState:
        """Return what to report, and learn from it how long jobs take."""
        killed = result.error is not None and result.error.kind is ErrorKind.WORKER
        if result.cancelled or killed:
            asked = self._lease_table.stop_asked(ref)
            if result.cancelled or asked:
                return asked or JobState.ENQUEUED
            self._prefetching.sicken()
        elif result.usage.wall_s is not None:
            self._prefetching.observe(ref, result.usage.wall_s)
        return JobState.FAILED if result.error else JobState.FINISHED

    def _finish_slowly(
        self, task: LeasedTask, outcome: Outcome, produced: "_Produced", folder: JobFolder | None
    ) -> None:
        """Bring what a job produced to the server, then let its outcome go; files with that are removed."""
        try:
            if outcome.state in PRODUCTIVE:
                self._bring(outcome, produced, folder, task.task.bounds)
            outcome.receipt = self._receipts.sign(task, outcome)
            self.end(outcome)
        except NotWantedError:
            return
        except NotTakenError as error:
            self._end_without(outcome, error.kind, f"the server refuses the output: {error}")
        except TooMuchError as error:
            self._end_without(outcome, ErrorKind.OUTPUT, str(error))
        except OSError as error:
            if outcome.state is JobState.FAILED:
                self.end(outcome)
                return
            self.return_unprepared([ref_of(outcome)], f"the output cannot be read on the worker: {error.strerror}")
        finally:
            produced.discard()

    def _report_replay(self, task: LeasedTask, draft: ReplayDraft, result: Result, produced: "_Produced") -> None:
        """Let what came of a replay go to the server, as the output of its job; however its guest ended."""
        outcome = Outcome(
            job=task.job, lease=task.lease, state=JobState.FINISHED, log=result.log or UNSET,
            log_offset=result.log_offset,
        )  # fmt: skip
        try:
            report = report_replay(task, draft, result, self._fetcher)
            if isinstance(report, JobError):
                outcome.state, outcome.error = JobState.FAILED, report.clean()
            else:
                self._uploader.add_output(outcome, report)
            self.end(outcome)
        except NotWantedError:
            return
        except NotTakenError as error:
            self.fail(ref_of(outcome), error.kind, f"the server refuses what came of the replay: {error}")
        except OSError as error:
            self.return_unprepared([ref_of(outcome)], f"what it made cannot be read: {error.strerror}")
        finally:
            produced.discard()

    def _bring(self, outcome: Outcome, produced: "_Produced", folder: JobFolder | None, bounds: Bounds) -> None:
        output, journal = produced
        if journal:
            self._bring_journal(outcome, journal)
        if output or outcome.state is JobState.FINISHED:
            self._uploader.add_output(outcome, output)
        if folder is None:
            return
        found = collect(Path(folder.path), folder.outputs, bounds.files_bytes)
        if found.left_out:
            self._note(outcome, f"{found.left_out} files that fit `outputs` are left out: {PATH_RULE}")
        ended_itself = outcome.state is JobState.FINISHED or outcome.exit_code is not UNSET
        kept = found if ended_itself else found.cut(PARTIAL_BYTES)
        is_all = ended_itself and not found.left_out
        self._uploader.add_files(outcome, Path(folder.path), kept, is_all=is_all)

    def _bring_journal(self, outcome: Outcome, journal: bytes | Path) -> None:
        """Bring a journal to the server; that it is not taken fails no job."""
        try:
            self._uploader.add_journal(outcome, journal)
        except NotTakenError as error:
            self._note(outcome, f"its journal is not kept, for the server refuses it: {error}")
        except OSError as error:
            self._note(outcome, f"its journal is not kept, for it cannot be read: {error.strerror}")

    def _note(self, outcome: Outcome, line: str) -> None:
        """Add a line to the end of the log."""
        outcome.log = (outcome.log or b"") + f"{line}\n".encode()

    def _end_without(self, outcome: Outcome, kind: ErrorKind, why: str) -> None:
        """End a job whose output is not taken; one that failed anyway fails as it did."""
        if outcome.state is JobState.FAILED:
            self.end(outcome)
        else:
            self.fail(ref_of(outcome), kind, why)


def _find_folder(task: LeasedTask, result: Result, outcome: Outcome) -> JobFolder | None:
    """Return the directory from which a job gives files back; None when it gives back none."""
    folder = task.task.folder
    has_run = result.error is None or result.error.kind not in OURS
    return folder if folder and folder.outputs and has_run and outcome.state in PRODUCTIVE else None
