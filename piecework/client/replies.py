"""Reading what came back: messages and refusals."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from piecework.client.errors import ApiError, BadReply, api_error
from piecework.protocol import bodies
from piecework.protocol.codes import Code
from piecework.protocol.messages import CapsuleReply, ErrorReply

T = TypeVar("T")

EXCERPT_CHARS = 200
"""How much of a foreign answer goes into a message."""
PAGE_NOT_FOUND = "PAGE_NOT_FOUND"
"""What a registry or proxy alone says of paths that it does not have."""
GATEWAY_FAILURES = range(502, 505)
"""What a proxy in front of a server may answer for it."""


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back for a request."""

    url: str
    status: int
    reason: str
    headers: Mapping[str, str]
    """By names in lower case."""
    content: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def read_message(reply: HttpReply, type_: type[T]) -> T:
    """Read a reply as a message, in the format that its content type names.

    Raises BadReply when it is something else.
    """
    try:
        return bodies.decode(reply.content, type_, reply.headers.get("content-type"))
    except (bodies.BodyDecodeError, bodies.MessageError) as error:
        raise BadReply(f"{reply.url} did not answer like a Piecework server: {error}") from error


def read_refusal(reply: HttpReply) -> ApiError | BadReply:
    """Turn a reply that is not a success into the error to raise."""
    if 300 <= reply.status < 400:
        target = reply.headers.get("location", "another place")
        return BadReply(f"{reply.url} redirects to {target}: use the URL of the server itself")
    retry_after_s = _seconds(reply.headers.get("retry-after"))
    for read in (_read_error, _read_capsule_error):
        with suppress(bodies.BodyDecodeError, bodies.MessageError):
            return api_error(reply.status, *read(reply), retry_after_s)
    return api_error(reply.status, Code.ERROR, _describe_foreign(reply), retry_after_s)


def _describe_foreign(reply: HttpReply) -> str:
    """Put an answer that no Piecework server gives into words: of a web page only that it is one."""
    message = f"{reply.url} answered HTTP {reply.status} {reply.reason}".rstrip()
    if "html" in reply.headers.get("content-type", "").lower():
        message += " with a web page"
    elif excerpt := " ".join(reply.content.decode(errors="replace").split())[:EXCERPT_CHARS]:
        message += f": {excerpt}"
    if reply.status in GATEWAY_FAILURES:
        return message
    return f"{message}; is this the URL of a Piecework server?"


def _read_error(reply: HttpReply) -> tuple[int, str]:
    """Return code and message of a refusal."""
    refusal = bodies.decode(reply.content, ErrorReply, reply.headers.get("content-type"))
    return refusal.code, refusal.message


def _read_capsule_error(reply: HttpReply) -> tuple[int, str]:
    """Return code and message of a refusal on a path of Capsule's; its code is a name."""
    refusal = bodies.decode(reply.content, CapsuleReply, reply.headers.get("content-type"))
    if refusal.code == PAGE_NOT_FOUND:
        return Code.ERROR, f"{reply.url} is not there; is this the URL of a registry or proxy alone?"
    return Code.__members__.get(refusal.code, Code.ERROR), refusal.message


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdecimal() else None
