"""Recorded calls of functions: which are recorded, what hosts hand in, and what is told of them."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta

from piecework.protocol.codes import ErrorKind
from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply, Shown

HANDED_IN_MAX = 100
"""Recorded calls in one request."""
KEPT_NAMES_MAX = 50


class CallRecording(Shown, msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """Which calls of a revision are recorded."""

    share: Annotated[float, Meta(gt=0, le=1)]
    """Of the calls that its replicas answer, above 0 and up to 1."""
    kept: Annotated[list[Annotated[str, Meta(min_length=1, max_length=200)]], Meta(max_length=KEPT_NAMES_MAX)] = []
    """Names of headers and of parameters of the query that are kept although they look secret. Calls with others
    that look so are not recorded."""


class HandedInCall(Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A recorded call, as its host hands it in."""

    replica: Id
    """Which replica answered it."""
    call: bytes
    """The recorded call, base64 in JSON."""


class CallsHandIn(Message, kw_only=True):
    """The body of ``POST /worker/{id}/calls``: calls that a host's replicas recorded."""

    calls: Annotated[list[HandedInCall], Meta(max_length=HANDED_IN_MAX)]
    """The recorded calls. Those of replicas that this host does not run any more are dropped."""


class CallsTaken(Reply, kw_only=True):
    """The answer of ``POST /worker/{id}/calls``."""

    kept: int
    """So many are kept."""
    refused: Maybe[str] = UNSET
    """Why the first one is not kept that is not; absent when all are."""


class RecordedCallInfo(Shown, msgspec.Struct, kw_only=True):
    """A recorded call."""

    id: Id
    """The recorded call."""
    at: float
    """When it began, seconds since 1970."""
    took_s: float
    """From its request to its answer, in the replica, seconds."""
    method: str
    """Of its request."""
    uri: str
    """Path and query of its request; of long ones the beginning."""
    status: Maybe[int] = UNSET
    """Of its answer; absent when the function failed."""
    error: Maybe[ErrorKind] = UNSET
    """Why the function failed; absent when it did not."""
    fuel: Maybe[int] = UNSET
    """How much fuel it used; absent when that is not known."""
    memory_bytes: Maybe[int] = UNSET
    """How much memory it had, bytes; absent when that is not known."""
    size: int
    """Bytes that the record takes."""


class RecordedCallList(Reply, kw_only=True):
    """The answer of ``GET /deployments/{function}/{revision}/calls``: newest first."""

    calls: list[RecordedCallInfo]
    """The recorded calls."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class RecordedCallReply(Reply, kw_only=True):
    """The answer of ``GET /deployments/{function}/{revision}/calls/{id}``."""

    info: RecordedCallInfo
    """What it was."""
    call: bytes
    """All of it, base64 in JSON; ``piecework.receipts.recorded_calls`` reads it."""
