"""Reading what came back: messages, refusals, and the reason when nothing came."""

from collections.abc import Iterator
from typing import TypeVar

import requests

from piecework.client.errors import ApiError, BadReply, api_error
from piecework.protocol import bodies
from piecework.protocol.codes import Code
from piecework.protocol.messages import ErrorReply

T = TypeVar("T")

EXCERPT_CHARS = 200
"""How much of a foreign error page goes into a message."""


def read_message(response: requests.Response, type_: type[T]) -> T:
    """Read a reply as a message, in the format that its content type names.

    Raises BadReply when it is something else.
    """
    try:
        return bodies.decode(response.content, type_, response.headers.get("Content-Type"))
    except (bodies.BodyError, bodies.MessageError) as error:
        raise BadReply(f"{response.url} did not answer like a Piecework server: {error}") from error


def read_refusal(response: requests.Response) -> ApiError | BadReply:
    """Turn a reply that is not a success into the error to raise."""
    if response.is_redirect:
        target = response.headers["Location"]
        return BadReply(f"{response.url} redirects to {target}: use the URL of the server itself")
    retry_after_s = _seconds(response.headers.get("Retry-After"))
    try:
        reply = bodies.decode(response.content, ErrorReply, response.headers.get("Content-Type"))
    except (bodies.BodyError, bodies.MessageError):
        excerpt = " ".join(response.text.split())[:EXCERPT_CHARS]
        message = f"HTTP {response.status_code} {response.reason or ''}".strip()
        message = f"{message}: {excerpt}" if excerpt else message
        return api_error(response.status_code, Code.ERROR, message, retry_after_s)
    return api_error(response.status_code, reply.code, reply.message, retry_after_s)


def find_reason(error: BaseException) -> str:
    """Say in a few words why a connection failed: the deepest cause that the system named."""
    reason = ""
    for cause in _causes(error):
        if isinstance(cause, OSError) and cause.strerror:
            reason = cause.strerror
        elif isinstance(cause, TimeoutError):
            reason = "it took too long"
    if reason:
        return reason[0].lower() + reason[1:]
    if isinstance(error, requests.Timeout):
        return "it took too long"
    return "the connection broke off"


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error down to what caused it, also through urllib3's ``reason`` and nested arguments."""
    seen: set[int] = set()
    left = [error]
    while left:
        cause = left.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        linked = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
        left += [item for item in linked if isinstance(item, BaseException)]


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdecimal() else None
