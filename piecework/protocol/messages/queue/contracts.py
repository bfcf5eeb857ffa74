"""The exchange in which a worker hands in outcomes and is given jobs."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown, given
from piecework.protocol.messages.content import Content
from piecework.protocol.messages.lambdas import Grants, Limits
from piecework.protocol.messages.outcomes import LeaseRef, Outcome, OutcomeAck
from piecework.protocol.messages.receipts import Envelope


class ContractRequest(Message, kw_only=True):
    """The body of ``POST /worker/{id}/contract``. The worker is named by the path; its id here is ignored."""

    tags: list[str] | None = None
    """Added to the worker's for this request; ``-name`` takes one away."""
    timeout: float | None = None
    """Seconds to wait for a job; the server answers before."""
    max: Maybe[Annotated[int, Meta(ge=0)]] = UNSET
    """Lease up to this many jobs; 0 hands in outcomes only, and ends the polls that the worker holds."""
    inline_max_bytes: Annotated[int, Meta(ge=0)] = 0
    """Inputs up to this size come inside the reply."""
    outcomes: list[Outcome] = []
    """Ends of earlier leases; recorded before anything is leased, and before the server waits for a job."""
    incarnation: Maybe[str] = UNSET
    """The start of the process that asks. A new one ends the leases of the one before."""
    trouble: Maybe[str] = UNSET
    """Why the worker takes no jobs now, with ``max`` 0. It counts until the worker asks for jobs again."""
    clock: Maybe[float] = UNSET
    """The time by the worker's clock, seconds since 1970: so that a clock that is wrong can be told of."""

    @property
    def knows_leases(self) -> bool:
        """Whether who asks is given leases with tokens: who leaves out ``max`` gets one job, and no token."""
        return self.max is not UNSET or bool(self.outcomes)


class LeasedLambda(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """The lambda of leased jobs: what the agent needs to load it."""

    id: Id
    """The lambda."""
    name: str = ""
    """What its author calls it; empty for none."""
    runtime: str
    """What it needs."""
    codex: Id
    """The blob with the code; 0 for none."""
    codex_checksum: str = ""
    """SHA-256, hex; empty when there is no such blob."""
    codex_size: int = 0
    """Size of the code, bytes."""
    grants: Grants = Grants()
    """What it may touch, if the node's operator allows it too."""
    deterministic: bool = False
    """Clock and random come from the job."""
    record: Maybe[bool] = UNSET
    """What its guest gets from outside is to be written into a journal; absent when it is not."""
    mode: str = "text"
    """``http``: inputs and outputs are HTTP requests and responses in envelopes. ``json``: a Capsule module's
    handler of JSON is called."""


class LeasedFile(Shown, msgspec.Struct, kw_only=True):
    """A file that a leased job gets."""

    name: str
    """Of the file, or its path in the job's own directory."""
    blob: Id
    """What is in it; 0: nothing."""
    checksum: str = ""
    """SHA-256, hex; empty when there is no such blob."""
    size: int = 0
    """Bytes."""


class LeasedFolder(Shown, msgspec.Struct, kw_only=True):
    """The directory that a leased job has for itself, at ``/``."""

    files: list[LeasedFile] = []
    """What is in it before the job starts."""
    outputs: list[str] = []
    """Patterns of the files that the job gives back."""


class LeasedReplay(Shown, msgspec.Struct, kw_only=True):
    """What a replay needs beside what the job had whose run it does again.

    For a worker whose contract has the tag ``replay``.
    """

    receipt: Maybe[Envelope] = UNSET
    """What the run is compared with; absent when that job, or its receipt, is gone."""
    engine: Maybe[str] = UNSET
    """What makes the code run; absent: what does so for other jobs."""
    journal: Maybe[LeasedFile] = UNSET
    """What the guest got from outside; absent when nothing was recorded."""
    output: Maybe[LeasedFile] = UNSET
    """What the job wrote to its output; absent when there is none."""
    made: Maybe[list[LeasedFile]] = UNSET
    """Files that it gave back; absent when it has no directory of its own."""


class LeasedJob(Shown, msgspec.Struct, kw_only=True):
    """One leased job: all that the agent needs to run it."""

    job: Id
    """The job."""
    lease: str
    """The fencing token: sent back with heartbeats and the outcome."""
    lease_s: float
    """Seconds, from the answer on, until the lease ends unless it is renewed."""
    attempt: int
    """Which attempt this is, from 1."""
    lambda_: Id = msgspec.field(name="lambda")
    """Which of ``lambdas`` to run."""
    input: Content
    """The blob's id (0: no input), with the bytes when they are small."""
    input_checksum: str = ""
    """SHA-256, hex; empty when there is no input."""
    input_size: int = 0
    """Bytes."""
    args: list[str] = []
    """Command line, without the program's name."""
    env: dict[str, str] = {}
    """Environment."""
    limits: Limits = Limits()
    """Complete: the job's, over the lambda's, over the server's."""
    ok_codes: Maybe[list[int]] = UNSET
    """Exit codes of its guest with which it has finished, beside 0."""
    files: Maybe[list[LeasedFile]] = UNSET
    """What it gets from other jobs in ``/inputs``, for a worker whose contract has the tag ``inputs``."""
    traceparent: Maybe[str] = UNSET
    """The W3C trace context that it is part of, where the server traces jobs."""
    folder: Maybe[LeasedFolder] = UNSET
    """The directory of its own, for a worker whose contract has the tag ``files``."""
    replay: Maybe[LeasedReplay] = UNSET
    """The run of another job is to be done again, and compared; all else is as that job had it."""

    @property
    def all_files(self) -> list[LeasedFile]:
        """Every file that it gets; most jobs get none."""
        if self.files is UNSET and self.folder is UNSET:
            return []
        folder = given(self.folder)
        return [*(given(self.files) or ()), *(folder.files if folder else ())]


class ContractReply(Reply, kw_only=True):
    """The answer of a contract."""

    id: Id
    """The worker."""
    message: Maybe[str] = UNSET
    """``no job`` when there is none."""
    jobs: Maybe[list[LeasedJob]] = UNSET
    """The leased jobs; empty when there are none."""
    lambdas: Maybe[list[LeasedLambda]] = UNSET
    """Each lambda of ``jobs`` once."""
    acks: Maybe[list[OutcomeAck]] = UNSET
    """One for each outcome, in order."""
    drain: Maybe[bool] = UNSET
    """True: an operator asks this worker to take no more jobs."""


class FinishRequest(Message, kw_only=True):
    """The body of ``POST /worker/{id}/finish``."""

    outcomes: list[Outcome]
    """Ends of leases."""


class FinishReply(Reply, kw_only=True):
    """The answer of ``POST /worker/{id}/finish``. HTTP 409 and code 902 when every outcome was refused."""

    acks: list[OutcomeAck]
    """One for each outcome, in order."""
    message: Maybe[str] = UNSET
    """The reason, when every outcome was refused."""


class LogPart(LeaseRef, kw_only=True, frozen=True):
    """What a running job logged since the last heartbeat."""

    log: bytes
    """Base64 in JSON."""
    offset: int
    """Bytes that the job logged before ``log``."""


class HeartbeatRequest(Message, kw_only=True):
    """The body of ``POST /worker/{id}/heartbeat``."""

    leases: list[LeaseRef]
    """Every lease that the agent holds, started or not."""
    logs: list[LogPart] = []
    """What running jobs logged since the last heartbeat."""
    incarnation: Maybe[str] = UNSET
    """As in a contract."""


class RenewedLease(LeaseRef, kw_only=True, frozen=True):
    """A lease that goes on."""

    lease_s: float
    """Seconds from the answer on."""


class HeartbeatReply(Reply, kw_only=True):
    """The answer of ``POST /worker/{id}/heartbeat``."""

    leases: list[RenewedLease]
    """Those that go on."""
    lost: list[Id]
    """Jobs whose lease was not the current one: stop them, their outcome would be refused."""
    cancel: list[Id]
    """Jobs that someone cancelled: stop them."""
    drain: bool
    """True: an operator asks this worker to take no more jobs."""
