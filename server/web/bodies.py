"""The request at hand and its body, without what Flask does around both each time."""

from typing import Any

from flask import Request, request
from werkzeug.sansio.utils import get_content_length

from piecework.server.errors import BodyBroken, BodyTooLarge


def current_request() -> Request:
    """Return the request that this thread answers: ``flask.request`` looks for it with each look at it."""
    found: Request = request._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001  # werkzeug's documented way
    return found


def find_length(asked: Request) -> int | None:
    """Return how many bytes the body is said to have; None when that is not told."""
    environ = asked.environ
    return get_content_length(environ.get("CONTENT_LENGTH") or None, environ.get("HTTP_TRANSFER_ENCODING"))


def open_body(asked: Request) -> Any:
    """Return the body to read from. One that ends by itself needs none of the watch that Flask keeps."""
    environ = asked.environ
    return environ["wsgi.input"] if environ.get("wsgi.input_terminated") else asked.stream


def read_body(asked: Request, limit_bytes: int) -> bytes:
    """Return the request's body. Raises BodyTooLarge before more than the limit is in memory, or BodyBroken."""
    length = find_length(asked) or 0
    if length > limit_bytes:
        raise BodyTooLarge(f"the body has {length} bytes, this server takes {limit_bytes}")
    try:
        # The stream first makes room for all that is asked for.
        body: bytes = open_body(asked).read(length or limit_bytes + 1)
    except OSError as error:
        raise BodyBroken(str(error)) from error
    if len(body) < length:
        raise BodyBroken(f"the body broke off after {len(body)} of {length} bytes")
    if len(body) > limit_bytes:
        raise BodyTooLarge(f"the body has more than {limit_bytes} bytes, which is what this server takes")
    return body
