"""Recorded calls of functions: what a call was given, what it came to, and the bytes of both.

Nobody signs a recorded call: it is what a replica says that it did.
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Protocol, Self

import msgspec
from msgspec import Meta

from piecework.http.exchange import EnvelopeError, Request, Response, read_request, read_response
from piecework.receipts.errors import ReceiptError
from piecework.receipts.journals import JournalError, JournalReader
from piecework.receipts.payload import RunClaim

CALL_MAX_BYTES = 1024 * 1024
"""No recorded call is larger."""
PARTS_MAX = 10


class RunParts(Protocol):
    """What is known of a run: what it was of, what it came to, and the bytes that both name."""

    @property
    def claim(self) -> RunClaim: ...

    def read(self, digest: str, most_bytes: int = ..., /) -> bytes:
        """Return the bytes of a part. Raises ReceiptError when they are too many, missing, or others."""

    def copy(self, digest: str, target: Path, /) -> None:
        """Write a part to a new file. Raises ReceiptError, FileExistsError, OSError."""


class CallRecord(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """A recorded call as it is kept, in MessagePack."""

    version: Literal[1] = 1
    at: Annotated[float, Meta(ge=0, le=1e11)]
    """When it began, seconds since 1970."""
    took_s: Annotated[float, Meta(ge=0, le=1e9)]
    """From its request to its answer, seconds."""
    memory_bytes: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    """How much memory its guest had at most; None: that cannot be seen."""
    claim: RunClaim
    parts: Annotated[list[bytes], Meta(max_length=PARTS_MAX)]
    """Request, answer, arguments and journal, in any order: their digests tell which is which."""


_decoder = msgspec.msgpack.Decoder(CallRecord)


def write_call(record: CallRecord) -> bytes:
    """Return a recorded call as it is kept."""
    return msgspec.msgpack.encode(record)


class RecordedCall:
    """A recorded call that was read, see ``RunParts``."""

    def __init__(self, record: CallRecord) -> None:
        """Raises ReceiptError for one of something else than a function that was served."""
        subject = record.claim.subject
        if subject.profile != "record" or not subject.served or subject.mode != "http":
            raise ReceiptError("the recorded call is of something that answers no requests")
        self.record = record
        self._parts = {hashlib.sha256(part).hexdigest(): part for part in record.parts}

    @classmethod
    def read_from(cls, data: bytes) -> Self:
        """Read one. Raises ReceiptError for what is none, or too large."""
        if len(data) > CALL_MAX_BYTES:
            raise ReceiptError(f"the recorded call has {len(data)} bytes; at most {CALL_MAX_BYTES} are read")
        try:
            return cls(_decoder.decode(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ReceiptError(f"the recorded call cannot be read: {error}") from error

    @property
    def claim(self) -> RunClaim:
        return self.record.claim

    @cached_property
    def request(self) -> Request:
        """What it was asked. Raises ReceiptError when that is not there."""
        try:
            return read_request(self.read(self.claim.subject.input))
        except EnvelopeError as error:
            raise ReceiptError(f"the recorded call is damaged: {error}") from error

    @cached_property
    def response(self) -> Response | None:
        """What it answered; None when it failed. Raises ReceiptError when that is not there."""
        output = self.claim.result.output
        try:
            return None if output is None else read_response(self.read(output))
        except EnvelopeError as error:
            raise ReceiptError(f"the recorded call is damaged: {error}") from error

    def list_questions(self) -> list[str]:
        """Return what it asked the outside, in this order, for people. Raises ReceiptError."""
        digest = self.claim.subject.journal
        try:
            return list(JournalReader(self.read(digest)).list_questions()) if digest else []
        except JournalError as error:
            raise ReceiptError(f"the recorded call is damaged: {error}") from error

    def with_parts(self, more: Iterable[bytes]) -> "RecordedCall":
        """Return the call with further bytes that it names."""
        return RecordedCall(msgspec.structs.replace(self.record, parts=[*self.record.parts, *more]))

    def read(self, digest: str, most_bytes: int = CALL_MAX_BYTES, /) -> bytes:
        """See ``RunParts``."""
        part = self._parts.get(digest)
        if part is None:
            raise ReceiptError(f"the recorded call has no part {digest}")
        if len(part) > most_bytes:
            raise ReceiptError(f"the part {digest} has {len(part)} bytes; at most {most_bytes} are read here")
        return part

    def copy(self, digest: str, target: Path, /) -> None:
        """See ``RunParts``."""
        part = self.read(digest)
        with target.open("xb") as output:
            output.write(part)
