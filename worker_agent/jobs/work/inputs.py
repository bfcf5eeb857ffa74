"""From a leased job to a task: what it needs is fetched while other jobs run, then the executor gets it."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from msgspec import UNSET

from piecework.client import NotFound
from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import NO_ID, Id
from piecework.protocol.job_files import find_clash, is_path
from piecework.protocol.messages import Grants, LeasedFile, LeasedJob, LeasedLambda, LeaseRef, given
from piecework.receipts.claims import find_recorded_seed, find_seed, sum_given
from piecework.receipts.errors import ReceiptError
from piecework.tracing import VARIABLE
from piecework.worker_agent.errors import AgentError, CacheError, ExecutorStoppedError
from piecework.worker_agent.jobs.executing import GuestExecutor
from piecework.worker_agent.jobs.leases.lease_table import LeaseTable, hand_back
from piecework.worker_agent.jobs.work.fetching import BlobFetcher, NotWantedError
from piecework.worker_agent.jobs.work.finishing import Finisher
from piecework.worker_agent.jobs.work.job_folders import JobFolders
from piecework.worker_agent.jobs.work.receipts import draft_receipt, name_files
from piecework.worker_agent.jobs.work.replays import GONE, draft_replay, write_replay
from piecework.worker_agent.jobs.work.thread_pool import ThreadPool, do_guarded
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.tasks import File, JobFolder, LeasedTask, Task

NO_GRANTS = Grants()
T = TypeVar("T")
Jobs = dict[LeaseRef, LeasedJob]


class Given(NamedTuple):
    """What a job gets."""

    input: bytes | Path = b""
    inputs: Path | None = None
    """The folder with what it gets from others; None: nothing."""
    folder: JobFolder | None = None
    """The directory that it has for itself; None: none."""


class UnfitError(Exception):
    """The job cannot be run as it is; ``kind`` and the message are for its outcome."""

    def __init__(self, kind: ErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Intake:
    """Brings leased jobs to the executor."""

    def __init__(
        self,
        lease_table: LeaseTable,
        fetcher: BlobFetcher,
        executor: GuestExecutor,
        finisher: Finisher,
        pool: ThreadPool,
        folders: JobFolders,
        engine: Engine,
    ) -> None:
        """``engine``: what runs jobs here, unless they say otherwise."""
        self._fetcher = fetcher
        self._lease_table = lease_table
        self._executor = executor
        self._finisher = finisher
        self._pool = pool
        self._folders = folders
        self._engine = engine

    def accept(self, jobs: Jobs, lambdas: Sequence[LeasedLambda]) -> None:
        """See to it that each job is run, or ends with the reason why not. Does not wait for downloads."""
        known = {each.id: each for each in lambdas}
        by_lambda: defaultdict[Id, Jobs] = defaultdict(dict)
        for ref, job in jobs.items():
            replay = given(job.replay)
            if replay is not None and replay.receipt is UNSET:
                self._finisher.fail(ref, ErrorKind.INPUT, GONE)
            else:
                by_lambda[job.lambda_][ref] = job
        for id_, group in by_lambda.items():
            lambda_ = known.get(id_)
            if lambda_ is None:
                for ref in group:
                    message = f"the contract does not describe lambda {id_}"
                    self._finisher.fail(ref, ErrorKind.WORKER, message)
            else:
                self._take_up(group, lambda_, at_once=self._fetcher.holds(lambda_.codex_checksum))

    def _take_up(self, jobs: Jobs, lambda_: LeasedLambda, *, at_once: bool) -> None:
        """Prepare the jobs of one lambda, now or when it is their turn."""
        work, on_bug = partial(self._prepare, jobs, lambda_), partial(self._recover, jobs, lambda_)
        if at_once:
            do_guarded(work, on_bug)
        else:
            self._pool.give(work, on_bug)

    def _recover(self, jobs: Jobs, lambda_: LeasedLambda) -> None:
        """Try each job alone after a bug, which then costs no other; give it up when it was alone."""
        if len(jobs) == 1:
            self._pool.give(partial(self._finisher.give_up, list(jobs)))
            return
        for ref, job in jobs.items():
            self._take_up({ref: job}, lambda_, at_once=False)

    def _prepare(self, jobs: Jobs, lambda_: LeasedLambda) -> None:
        """Get the code, then the inputs: those at hand together, each of the others alone."""
        codex = self._try(list(jobs), partial(self._get_codex, list(jobs), lambda_))
        if codex is None:
            return
        near: Jobs = {}
        for ref, job in jobs.items():
            if self._is_at_hand(job):
                near[ref] = job
            else:
                one = {ref: job}
                self._pool.give(
                    partial(self._get_inputs, one, lambda_, codex), partial(self._recover, one, lambda_)
                )
        self._get_inputs(near, lambda_, codex)

    def _is_at_hand(self, job: LeasedJob) -> bool:
        if job.replay is not UNSET:
            return False
        blobs = [each.checksum for each in job.all_files if each.blob]
        if job.input.id and not job.input.is_inline:
            blobs.append(job.input_checksum)
        return all(map(self._fetcher.holds, blobs))

    def _get_inputs(self, jobs: Jobs, lambda_: LeasedLambda, codex: Path) -> None:
        """Get the inputs of some jobs, and give the executor all of them at once."""
        tasks = {}
        for ref, job in jobs.items():
            task = self._try([ref], partial(self._make_task, ref, job, lambda_, codex))
            if task is not None:
                tasks[ref] = task
        self._submit(tasks)

    def _make_task(self, ref: LeaseRef, job: LeasedJob, lambda_: LeasedLambda, codex: Path) -> LeasedTask:
        if job.replay is UNSET:
            return write_task(job, lambda_, codex, self._get_all(ref, job))
        draft = draft_replay(job, lambda_, self._engine)
        leased = write_task(job, lambda_, codex, self._get_all(ref, job))
        journal = None if draft.journal is None else self._get_file(ref, draft.journal)
        return write_replay(job, leased.task, draft, journal)

    def _try(self, refs: Sequence[LeaseRef], get: Callable[[], T]) -> T | None:
        """Get something that jobs need; None: that failed, and they have ended, with the reason if it is ours."""
        try:
            return get()
        except NotWantedError:
            return None
        except UnfitError as error:
            kind, message = error.kind, str(error)
        except ReceiptError as error:
            kind, message = ErrorKind.INPUT, f"the run cannot be done again: {error}"
        except (CacheError, OSError) as error:  # the node's own fault: another may do better
            self._finisher.return_unprepared(refs, f"the worker could not prepare the job: {error}")
            return None
        except AgentError as error:
            kind, message = ErrorKind.WORKER, f"the worker could not prepare the job: {error}"
        for ref in refs:
            self._finisher.fail(ref, kind, message)
        return None

    def _get_codex(self, refs: Sequence[LeaseRef], lambda_: LeasedLambda) -> Path:
        missing = UnfitError(ErrorKind.LOAD, f"the codex {lambda_.codex} of lambda {lambda_.id} does not exist")
        if not lambda_.codex_checksum:
            raise missing
        try:
            size_bytes = lambda_.codex_size
            return self._fetcher.get(refs, lambda_.codex, lambda_.codex_checksum, size_bytes=size_bytes)
        except NotFound:
            raise missing from None

    def _get_all(self, ref: LeaseRef, job: LeasedJob) -> Given:
        """Return what a job gets: its input, and the directories that it has alone, if any."""
        if job.files is UNSET and job.folder is UNSET:
            return Given(self._get_input(ref, job))
        inputs = own = None
        folder = given(job.folder)
        for listed in (given(job.files) or [], folder.files if folder else []):
            _check_names(listed)
        if folder is not None:
            _check_room(folder.files, Bounds.of(job.limits))
        data = self._get_input(ref, job)
        if files := given(job.files):
            inputs = self._folders.make_inputs(ref, {each.name: self._get_file(ref, each) for each in files})
        if folder is not None:
            path = self._folders.make_own(ref, {each.name: self._get_file(ref, each) for each in folder.files})
            checksum = sum_given(name_files(folder.files))
            own = JobFolder(str(path), tuple(folder.outputs), checksum)
        return Given(data, inputs, own)

    def _get_file(self, ref: LeaseRef, file: LeasedFile) -> Path | None:
        if not file.blob:
            return None
        missing = UnfitError(ErrorKind.INPUT, f"the blob {file.blob} of the file {file.name} does not exist")
        if not file.checksum:
            raise missing
        try:
            return self._fetcher.get([ref], file.blob, file.checksum, size_bytes=file.size, lasting=False)
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
            return self._fetcher.get([ref], Id(blob), job.input_checksum, size_bytes=job.input_size, lasting=False)
        except NotFound:
            raise missing from None

    def _submit(self, tasks: dict[LeaseRef, LeasedTask]) -> None:
        started = self._lease_table.start(*tasks)
        try:
            self._executor.submit(*[tasks[ref] for ref in started])
        except ExecutorStoppedError:
            self._lease_table.end(*map(hand_back, started))
            return
        # Whoever stops a job tells the lease table first and the executor then: one of us sees the other.
        for ref in started:
            if not self._lease_table.is_open(ref) or self._lease_table.stop_asked(ref):
                self._executor.cancel(ref.job, ref.lease)


def _check_names(files: Sequence[LeasedFile]) -> None:
    """Raise UnfitError unless files can be in one directory: no server has an agent write elsewhere."""
    names = [each.name for each in files]
    if not all(map(is_path, names)) or len({*names}) < len(names) or find_clash(names):
        raise UnfitError(ErrorKind.WORKER, "the contract has names that no files of a job can have")


def _check_room(files: Sequence[LeasedFile], bounds: Bounds) -> None:
    """Raise UnfitError when a job's directory has no room for its files."""
    folders = {each.name[:place] for each in files for place, char in enumerate(each.name) if char == "/"}
    size, count = sum(each.size for each in files), len(files) + len(folders)
    if size > bounds.files_bytes or count > bounds.files_count:
        raise UnfitError(
            ErrorKind.INPUT,
            f"its files have {size} bytes in {count} files and folders; its directory has room for "
            f"{bounds.files_bytes} in {bounds.files_count} (--max-files-size, --max-files)",
        )


def write_task(job: LeasedJob, lambda_: LeasedLambda, codex: Path, got: Given) -> LeasedTask:
    """Put together what the executor needs to know."""
    data = got.input
    seed = choose_seed(job, lambda_)
    task = Task(
        runtime=lambda_.runtime,
        codex=str(codex),
        checksum=lambda_.codex_checksum,
        input=data if isinstance(data, bytes) else File(str(data)),
        bounds=Bounds.of(job.limits),
        args=tuple(job.args),
        env=_write_env(job, lambda_),
        seed=seed,
        record=lambda_.record is True,
        mode=lambda_.mode,
        ok_codes=tuple(given(job.ok_codes) or ()),
        grants=None if lambda_.grants == NO_GRANTS else lambda_.grants,
        inputs=None if got.inputs is None else str(got.inputs),
        folder=got.folder,
    )
    return LeasedTask(job.job, job.lease, task, draft_receipt(job, lambda_, seed))


def _write_env(job: LeasedJob, lambda_: LeasedLambda) -> dict[str, str]:
    """Return a guest's variables. One whose run is to be repeated is not told of its trace."""
    trace, repeats = given(job.traceparent), lambda_.deterministic or lambda_.record is True
    return job.env if trace is None or repeats else {VARIABLE: trace, **job.env}


def choose_seed(job: LeasedJob, lambda_: LeasedLambda) -> bytes | None:
    """Return what a run's random numbers come from; None: from nothing that is known.

    Each run of a recorded lambda has others: jobs that are leased together may share their lease.
    """
    if lambda_.record is True:
        return find_recorded_seed(find_run_seed(job, lambda_), job.job, job.lease)
    return find_run_seed(job, lambda_) if lambda_.deterministic else None


def find_run_seed(job: LeasedJob, lambda_: LeasedLambda) -> bytes:
    """Return what a deterministic run draws clock and random from: the same call has the same seed."""
    folder = given(job.folder)
    own = None if folder is None else name_files(folder.files)
    inputs = name_files(given(job.files) or ())
    return find_seed(lambda_.codex_checksum, job.input_checksum, job.args, job.env, inputs, own)
