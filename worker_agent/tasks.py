"""What passes between the agent and its guest processes: a task in, a result out."""

from typing import NamedTuple

import msgspec

from piecework.protocol.ids import Id
from piecework.protocol.messages import Grants, JobError, LeasedFile, Usage
from piecework.receipts.canonical import write_number
from piecework.receipts.payload import ReceiptPayload, RunLimits, RunSubject
from piecework.worker_agent.runtimes import Engine
from piecework.worker_agent.runtimes.base import Bounds
from piecework.worker_agent.runtimes.journal.differences import CallDifference


class File(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Bytes that are too many to travel: the file that they are in."""

    path: str


class JobFolder(msgspec.Struct, array_like=True, frozen=True):
    """The directory that a job has for itself."""

    path: str
    outputs: tuple[str, ...] = ()
    """Patterns of the files in there that it gives back."""
    checksum: str = ""
    """Of the files that were put there, as ``sum_files`` says."""


class Task(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """Something to run, with everything at hand that is needed. It travels as it is."""

    runtime: str
    """As the lambda names it, ``Base[+Feature…]``."""
    codex: str
    """The file with the code."""
    checksum: str
    """SHA-256 of the code, hex: the key of the compiled-module cache."""
    input: bytes | File = b""
    bounds: Bounds = Bounds()
    args: tuple[str, ...] = ()
    """Command line, without the program's name."""
    env: dict[str, str] = {}
    seed: bytes | None = None
    """Not None: run deterministically, with random numbers from this seed, and the clock unless it is recorded."""
    record: bool = False
    """Write a journal of what comes from outside; or, with ``journal``, take that from there."""
    journal: "bytes | File | None" = None
    """Replay this: nothing is reached, whatever is granted."""
    engine: Engine | None = None
    """What makes machine code of it, see ``Build``; None: what does so for all tasks of its process."""
    mode: str = "text"
    served: bool = False
    """Replay a call of a function that is served."""
    grants: Grants | None = None
    """None: nothing, as for most."""
    ok_codes: tuple[int, ...] = ()
    """Exit codes of a guest that did well, beside 0."""
    inputs: str | None = None
    """The folder with what it gets from other jobs; None: it gets nothing."""
    folder: JobFolder | None = None
    """The directory that it has for itself, at ``/``; None: it has none."""
    program: str = "lambda"
    """The program's name, ``argv[0]``."""

    @property
    def sealed(self) -> bool:
        """Say whether it reaches nothing, whatever is granted."""
        return self.seed is not None and (not self.record or self.journal is not None)


class RunDraft(NamedTuple):
    """What the receipt of a run says that is known before the run begins."""

    attempt: int
    lambda_: Id
    subject: RunSubject


class ReplayDraft(NamedTuple):
    """What a replay is to come to."""

    payload: ReceiptPayload
    """Of the receipt that it is compared with."""
    engine: Engine
    """What runs it."""
    journal: LeasedFile | None
    output: LeasedFile | None
    """What the job wrote to its output; None: there is none, or it is not there any more."""
    made: tuple[LeasedFile, ...]
    """Files that it gave back."""


class LeasedTask(NamedTuple):
    """A task, and the lease under which it runs."""

    job: Id
    lease: str
    """The fencing token."""
    task: Task
    draft: RunDraft | None = None
    """For its receipt; None: it has none."""
    replay: ReplayDraft | None = None
    """It does the run of another job again, and is compared with this."""


class Result(msgspec.Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """What running a task produced. ``error`` None: it finished."""

    output: bytes | File = b""
    """A file belongs to whoever receives the result. Of a guest that failed, what it had written by then."""
    error: JobError | None = None
    usage: Usage
    log: bytes = b""
    """The newest ``log_bytes`` of the log."""
    log_offset: int = 0
    """How many bytes of log came before ``log`` and were dropped."""
    exit_code: int = 0
    """With which the guest ended itself, if that is not 0."""
    cancelled: bool = False
    """It was stopped because someone asked for it."""
    unfit: bool = False
    """It failed because this node could not do its part: another node may do better."""
    journal: bytes | File | None = None
    """Of a recorded run; a file belongs to whoever receives the result."""
    difference: CallDifference | None = None
    """Of a replay: the first host call that was not like in its journal."""


class LogUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """What a running task logged since the last time anyone asked."""

    job: Id
    lease: str
    log: bytes
    offset: int
    """Bytes that the task logged before ``log``."""


def write_bounds(bounds: Bounds) -> RunLimits:
    """Return the limits of a run as its receipt has them."""
    return RunLimits(
        fuel=None if bounds.fuel is None else write_number(bounds.fuel),
        memory_bytes=write_number(bounds.memory_bytes),
        stack_bytes=write_number(bounds.stack_bytes),
        output_bytes=write_number(bounds.output_bytes),
        files_bytes=write_number(bounds.files_bytes),
        files_count=write_number(bounds.files_count),
        open_files=write_number(bounds.open_files),
    )
