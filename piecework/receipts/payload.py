"""What a receipt says: this result is what this code makes of this input."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from piecework.protocol.codes import ErrorKind
from piecework.protocol.messages.lambdas import LambdaMode
from piecework.receipts.canonical import NUMBER_MAX, encode_canonical, read_canonical, sum_canonical
from piecework.receipts.errors import ReceiptError

Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
WholeNumber = Annotated[int, Meta(ge=0, le=NUMBER_MAX)] | Annotated[str, Meta(pattern="^[1-9][0-9]{15,19}$")]
"""A number; above 2^53 as a decimal string."""
IdText = Annotated[str, Meta(pattern="^(0|[1-9][0-9]{0,18})$")]
ShortText = Annotated[str, Meta(max_length=500)]
Profile = Literal["deterministic", "record"]
"""How it was made sure that a run can be repeated."""
RECEIPT_STATES = ("Finished", "Fail_Execution")
INCOMPARABLE = frozenset({ErrorKind.TIMEOUT, ErrorKind.MEMORY, ErrorKind.WORKER, ErrorKind.INPUT, ErrorKind.LOAD})
"""Ends that depend on the machine or the engine: another run may end elsewhere."""


class RunLimits(
    msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """Limits that a guest can notice. Time and the kept log are none of them."""

    fuel: WholeNumber | None = None
    """Absent: as much as it wanted."""
    memory_bytes: WholeNumber
    stack_bytes: WholeNumber
    output_bytes: WholeNumber
    files_bytes: WholeNumber
    files_count: WholeNumber
    open_files: WholeNumber


class RunSubject(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What was run, with all that its result depends on: runs with one subject have one result."""

    runtime: ShortText
    """As the lambda names it."""
    mode: LambdaMode
    profile: Profile
    module: Sha256
    """Of the code."""
    input: Sha256
    """Of the input, also when it is empty."""
    args: Sha256
    """Of the canonical JSON of the command line, a list of strings."""
    env: Sha256
    """Of the canonical JSON of the environment, an object of strings."""
    files: Sha256 | None = None
    """Of the list of files in its own directory before it began, as ``sum_files`` says; absent without one."""
    inputs: Sha256 | None = None
    """Of the list of files that it got in ``/inputs``; absent when there were none."""
    limits: RunLimits
    seed: Sha256
    """What clock and random numbers come from, 32 bytes in hex."""
    journal: Sha256 | None = None
    """Of the journal of what came from outside; absent for a deterministic run."""
    journal_cut: bool = False
    """The journal was full before the run ended: a replay can follow it only so far."""
    outputs: Annotated[list[ShortText], Meta(max_length=50)] = []
    """Patterns of the files that it was to give back."""
    ok_codes: Annotated[list[Annotated[int, Meta(ge=0, lt=2**32)]], Meta(max_length=256)] = []
    """Exit codes with which it did well, beside 0."""
    served: bool = False
    """It answered a call of a served function: its port, and values that calls share, came from outside."""


class RunResult(
    msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """What came out."""

    state: Literal["Finished", "Fail_Execution"]
    exit_code: Annotated[int, Meta(ge=0, lt=2**32)]
    """With which the guest ended itself; 0 also when it did not."""
    error_kind: ErrorKind | None = None
    """Why it failed; absent when it did not."""
    output: Sha256 | None = None
    """Of the output; absent when the guest did not end by itself."""
    made: Sha256 | None = None
    """Of the list of files that it gave back; absent when it gives none back, or not all."""
    memory: Sha256 | None = None
    """Of the guest's linear memory at its end; absent where that cannot be seen."""
    fuel: WholeNumber | None = None
    """How much it used; absent after an end that loses count."""
    comparable: bool
    """Every run of the subject, on any engine, has this result. False: how it ended depends on the machine."""


class RunClaim(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A receipt's statement: what was run, and what came out."""

    subject: RunSubject
    result: RunResult


class EngineFacts(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What ran it. No part of the claim: another engine must come to the same."""

    name: ShortText
    version: ShortText
    strategy: ShortText
    """How it makes code run, such as ``cranelift``."""
    opt_level: ShortText
    flags: Annotated[list[ShortText], Meta(max_length=50)] = []
    """What was switched on because it changes what guests see."""
    interpreter: Sha256 | None = None
    """Of the module that interpreted the code; absent when the code is a module itself."""


class ReceiptPayload(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The signed part of a receipt."""

    version: Literal[1]
    job: IdText
    attempt: Annotated[int, Meta(ge=1, le=2**31)]
    lambda_: IdText = msgspec.field(name="lambda")
    worker: IdText
    claim: RunClaim
    engine: EngineFacts


_decoder = msgspec.json.Decoder(ReceiptPayload)


def write_payload(payload: ReceiptPayload) -> bytes:
    """Return the bytes that are signed."""
    return encode_canonical(payload)


def read_payload(data: bytes) -> ReceiptPayload:
    """Return what signed bytes say. Raises ReceiptError that names the field, or the byte that is wrong."""
    payload = read_canonical(data, _decoder, "the payload of the receipt")
    _check_numbers(payload.claim.subject.limits, "claim.subject.limits")
    _check_numbers(payload.claim.result, "claim.result")
    return payload


def _check_numbers(part: RunLimits | RunResult, where: str) -> None:
    for name in ("fuel", *RunLimits.__struct_fields__):
        value = getattr(part, name, None)
        if isinstance(value, str) and int(value) <= NUMBER_MAX:
            raise ReceiptError(
                f"the payload of the receipt is wrong: {where}.{name} is a string, but a small number"
            )


def subject_digest(subject: RunSubject) -> str:
    """Return what names all runs that must have one result: the SHA-256 of the subject, in hex."""
    return sum_canonical(subject)


def result_digest(result: RunResult) -> str:
    """Return what names a result: its SHA-256, in hex."""
    return sum_canonical(result)


def sum_args(args: Sequence[str]) -> str:
    """Return the digest of a command line."""
    return sum_canonical(args)


def sum_env(env: Mapping[str, str]) -> str:
    """Return the digest of an environment."""
    return sum_canonical(env)


def is_comparable(kind: ErrorKind | None, fuel: int | str | None) -> bool:
    """Tell whether a run must end so everywhere.

    An end that loses count of the fuel, as that of a full stack, comes at another place on another engine.
    """
    return fuel is not None and kind not in INCOMPARABLE
