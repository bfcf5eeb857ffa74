"""What an execution produced, and whether the server took it."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Shown
from piecework.protocol.messages.content import BlobRef
from piecework.protocol.messages.receipts import Envelope
from piecework.protocol.states import JobState
from piecework.protocol.text import clean_text

ExitCode = Annotated[int, Meta(ge=0, lt=2**32)]
"""With which a guest ends itself; 0 means well."""


class JobError(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Why an attempt failed."""

    kind: ErrorKind
    """What sort of failure."""
    message: str
    """For people, in a sentence or two."""
    trace: Maybe[str] = UNSET
    """Where in the guest it happened, when that is known."""

    def clean(self) -> "JobError":
        """Return the error as it can be sent, whatever its guest wrote into the texts."""
        trace = self.trace if isinstance(self.trace, UnsetType) else clean_text(self.trace)
        return JobError(kind=self.kind, message=clean_text(self.message), trace=trace)


class Digests(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What went into a deterministic run and what came out, SHA-256 in hex: any node gives the same."""

    module: str
    """Of the code."""
    input: str
    """Of the input, also when it is empty."""
    files: str | None = None
    """Of the files that were given: of the lines that ``sha256sum`` prints for them, sorted by path. Absent when
    the job has no directory of its own."""
    output: str | None = None
    """Of the output; absent when the guest did not end by itself."""
    made: str | None = None
    """Of the files that it gave back, in the same way; absent when it gives none back, or not all."""
    memory: str | None = None
    """Of the guest's linear memory at its end; absent where that cannot be seen."""
    journal: str | None = None
    """Of the journal of a recorded run; absent when there is none."""
    journal_cut: bool = False
    """The journal reached its limit: the guest got more from outside than is in there."""


class Usage(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What an attempt used; fields that were not measured are left out."""

    wall_s: float | None = None
    """Time from start to end, seconds."""
    cpu_s: float | None = None
    """Time on a CPU, seconds."""
    fuel: int | None = None
    """Units of fuel, when they were counted; absent after an end that loses count, such as a division by zero."""
    memory_bytes: int | None = None
    """The guest's linear memory at its largest."""
    digests: Digests | None = None
    """Of a deterministic lambda only."""


class LeaseRef(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """One lease of one job."""

    job: Id
    """The job."""
    lease: str
    """The fencing token that the contract gave."""


class MadeFile(Shown, msgspec.Struct, kw_only=True):
    """A file that a job gives back."""

    name: str
    """Its path in the job's own directory."""
    content: BlobRef
    """A blob's id, or the bytes themselves."""


class Outcome(Shown, msgspec.Struct, kw_only=True):
    """The end of one lease.

    ``state`` is ``Finished``, ``Fail_Execution``, ``Cancelled`` (the server asked for it), or ``Enqueued``:
    the worker hands the job back unstarted, and the attempt does not count.
    Sending the same outcome twice is safe: (job, lease) decides.
    """

    job: Id
    """The job."""
    lease: str
    """The fencing token that the contract gave."""
    state: JobState
    """How the lease ended."""
    output: BlobRef | None = None
    """The result: a blob's id, or the bytes themselves. With ``Fail_Execution`` what the guest had written."""
    made: Maybe[list[MadeFile]] = UNSET
    """Files that it gives back, also with ``Fail_Execution``."""
    journal: Maybe[BlobRef] = UNSET
    """What its guest got from outside, when its lambda is recorded: a blob's id, or the bytes themselves."""
    error: Maybe[JobError | None] = UNSET
    """Required with ``Fail_Execution``; with ``Enqueued`` why the worker could not do its part."""
    usage: Usage = Usage()
    """What the attempt used."""
    exit_code: Maybe[ExitCode] = UNSET
    """With which the guest ended itself, when that was not 0."""
    log: Maybe[bytes] = UNSET
    """The kept end of the guest's log (base64 in JSON)."""
    log_offset: int = 0
    """How many bytes of log came before ``log`` and were dropped."""
    receipt: Maybe[Envelope] = UNSET
    """Of a run that can be repeated: its receipt, signed by the worker."""


class OutcomeAck(Shown, msgspec.Struct, kw_only=True):
    """What became of one outcome."""

    job: Id
    """The job."""
    lease: str
    """The outcome's lease."""
    code: int = 0
    """0: accepted, now or before; else why it was refused (902: the lease is not the current one; 906: its receipt
    does not fit, and the attempt counts as failed by the worker)."""
    message: Maybe[str] = UNSET
    """The reason of a refusal."""
