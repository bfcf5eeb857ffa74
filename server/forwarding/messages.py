"""A call of a function as it came, and its answer as it goes, whichever server takes and sends them."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import msgspec

from piecework.http.exchange import HOP_BY_HOP, Headers
from piecework.protocol.messages import CapsuleReply
from piecework.server.services.queue.submitting.quotas import Allowed

NO_ROUTE = "😢 Houston? We have a problem 🥵"
"""What Capsule's reverse proxy said of a path that leads nowhere."""
RETRY_AFTER_S = 2
REPLICA_TOKEN = "piecework-replica-token"  # noqa: S105  # the name of a header
"""The header that a replica's token is shown in. No caller and no function sees it."""
JOB_HEADER = "Piecework-Job"
"""In the answer of a call that became a job: its id."""


class BodyStream(Protocol):
    """The body of a request, while it comes in."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, at most so many; none at the end, or when the caller is gone."""


class Disconnect:
    """Whether the caller of a call left, and what must be broken off then. Some servers cannot tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cut: Callable[[], object] | None = None
        self.is_noted = False

    def note(self) -> None:
        """Say that the caller left."""
        with self._lock:
            self.is_noted = True
            if self._cut is not None:
                self._cut()

    def guard(self, cut: Callable[[], object] | None) -> None:
        """Have ``cut`` called when the caller leaves, at once if it did already; None ends that."""
        with self._lock:
            self._cut = cut
            if cut is not None and self.is_noted:
                cut()


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """A request to a function."""

    method: str
    path: str
    """What follows ``/functions/``, percent-encoded."""
    query: str
    """Percent-encoded, without the question mark."""
    headers: Headers
    """Names in lower case; each character of a value is one byte of it."""
    body: BodyStream
    length: int | None
    """Bytes of the body; None: unknown until it ends."""
    peer: str
    """The address that it came from."""
    scheme: str
    """How it came: http or https."""
    caller: str | None = None
    """The name of the token that it showed; None where none is needed."""
    allowed: Allowed | None = None
    """What that token's quota allows; None where it has none."""
    disconnect: Disconnect = field(default_factory=Disconnect)
    """Whether the caller is gone."""
    is_let_in: bool = False
    """Whether it was checked already that its caller may call."""

    def below(self, room: str) -> "FunctionCall":
        """Return the call with its path after what stands before the function's name."""
        return replace(self, path=self.path[len(room) :])

    def find_header(self, name: str) -> str:
        """Return a header's value, by its name in lower case; empty when there is none."""
        return next((value for each, value in self.headers if each == name), "")

    def join_header(self, name: str) -> str:
        """Return all values of a header, joined with commas; empty when there is none."""
        return ",".join(value for each, value in self.headers if each == name)


@dataclass(slots=True)
class CallReply:
    """An answer. A body that comes in pieces must be gone through, or closed."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    """Each character of a value is one byte of it."""
    body: bytes | Iterable[bytes] = b""


class CallRefused(Exception):
    """The call is not passed on, or came to nothing; why is for the caller."""

    def __init__(self, status: int, code: str, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = headers

    def reply(self) -> CallReply:
        """Return it as an answer, in Capsule's form."""
        body = msgspec.json.encode(CapsuleReply(code=self.code, message=str(self)))
        retry = [("Retry-After", str(RETRY_AFTER_S))] if self.status == 503 else []
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *retry, *self.headers]
        return CallReply(self.status, headers, body)


def to_text(value: str) -> str:
    """Return a header's value as people read it: its bytes are UTF-8 as a rule. Others are Latin-1."""
    if value.isascii():
        return value
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


class Unreached(CallRefused):
    """No URL took the call, so nothing of it was acted on; ``call`` can be answered in another way."""

    def __init__(self, call: FunctionCall, message: str) -> None:
        super().__init__(502, "BAD_GATEWAY", message)
        self.call = call


def drop_hops(headers: Headers, *also: str) -> list[tuple[str, str]]:
    """Return headers without those about a connection: the known ones, and those that ``Connection`` names."""
    named = {word.strip().lower() for name, value in headers if name == "connection" for word in value.split(",")}
    dropped = HOP_BY_HOP | named | set(also)
    return [(name, value) for name, value in headers if name not in dropped]
