"""HTTP requests and responses as plain records, and as the envelopes that jobs of mode ``http`` carry them in."""

import base64
import binascii
import re
from typing import NamedTuple

import msgspec

Headers = tuple[tuple[str, str], ...]
"""Names and values, in order; a name may come again."""
HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers about one connection, which are never passed on (RFC 9110, section 7.6.1). In lower case."""
_OF_THE_SERVER = HOP_BY_HOP | {"content-length", "date"}
"""Headers that only the server can tell truly, which sends the body."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
HEAD_BYTES = 64 * 1024
"""Of the headers of a response: callers take no more, and far too many would end the server that sends them."""
_ALONE = "set-cookie"
"""The one header whose values cannot be joined by commas (RFC 9110, section 5.3)."""


class Request(NamedTuple):
    """An HTTP request."""

    method: str = "GET"
    uri: str = "/"
    """Path and query, as they were sent."""
    headers: Headers = ()
    body: bytes = b""


class Response(NamedTuple):
    """An HTTP response."""

    status: int = 200
    headers: Headers = ()
    body: bytes = b""

    def find_header(self, name: str) -> str:
        """Return the first value of a header, whatever the case of its name; empty when there is none."""
        return next((value for each, value in self.headers if each.lower() == name.lower()), "")


class EnvelopeError(ValueError):
    """The text is no request or response that a job can carry; the message says why."""


class _RequestEnvelope(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A request as the input of a job: JSON with either a text or base64 as its body."""

    method: str = "GET"
    uri: str = "/"
    headers: dict[str, str | list[str]] = {}
    body: str | None = None
    base64: str | None = None


class _ResponseEnvelope(msgspec.Struct, omit_defaults=True):
    status: int
    headers: dict[str, str | list[str]]
    body: str | None = None
    base64: str | None = None


def read_request(envelope: bytes) -> Request:
    """Return the request that a job's input is. Raises EnvelopeError."""
    try:
        found = msgspec.json.decode(envelope or b"{}", type=_RequestEnvelope)
        return Request(found.method.upper(), found.uri, _unfold(found.headers), _read_body(found))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise EnvelopeError(f"the input is no HTTP request envelope: {error}") from None


def write_request(request: Request) -> bytes:
    """Return the input of a job for a request."""
    envelope = _RequestEnvelope(request.method, request.uri, _fold(request.headers))
    envelope.body, envelope.base64 = _write_body(request.body)
    return msgspec.json.encode(envelope)


def read_response(envelope: bytes) -> Response:
    """Return the response that a job's output is. Raises EnvelopeError."""
    try:
        found = msgspec.json.decode(envelope, type=_ResponseEnvelope)
        return Response(check_status(found.status), check_headers(_unfold(found.headers)), _read_body(found))
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise EnvelopeError(f"the output is no HTTP response envelope: {error}") from None


def write_response(response: Response) -> bytes:
    """Return the output of a job for a response. Values of headers with the same name are joined by commas."""
    envelope = _ResponseEnvelope(status=response.status, headers=_fold(response.headers))
    envelope.body, envelope.base64 = _write_body(response.body)
    return msgspec.json.encode(envelope)


def check_status(status: int) -> int:
    """Return a status that a response to a request can have. Raises ValueError for others, like 42 or 101."""
    if not 200 <= status <= 599:
        raise ValueError(f"the status is {status}, and must be from 200 to 599")
    return status


def check_headers(headers: Headers) -> Headers:
    """Return the headers of a response. Raises ValueError for more than ``HEAD_BYTES``."""
    size = sum(len(name) + len(value) + len(": \r\n") for name, value in headers)
    if size > HEAD_BYTES:
        raise ValueError(f"the headers have {size} bytes, and must not have more than {HEAD_BYTES}")
    return headers


def pick_sendable(headers: Headers) -> Headers:
    """Return the headers of a response that may be sent on, whoever made them.

    Left out are those about a connection, those that the server itself tells, names that are none, and values with
    line breaks or other control characters: nobody can end the headers, or lie about the length of the body.
    """
    return tuple(
        (name, value.strip())
        for name, value in headers
        if name.lower() not in _OF_THE_SERVER and _TOKEN.fullmatch(name) and not _CONTROL.search(value)
    )


def _fold(headers: Headers) -> dict[str, str | list[str]]:
    folded: dict[str, str | list[str]] = {}
    names: dict[str, str] = {}
    for given, value in headers:
        name = names.setdefault(given.lower(), given)
        known = folded.get(name)
        if known is None:
            folded[name] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            folded[name] = [known, value] if name.lower() == _ALONE else f"{known}, {value}"
    return folded


def _unfold(headers: dict[str, str | list[str]]) -> Headers:
    return tuple(
        (name, value)
        for name, values in headers.items()
        for value in ([values] if isinstance(values, str) else values)
    )


def _read_body(envelope: _RequestEnvelope | _ResponseEnvelope) -> bytes:
    if envelope.body is not None and envelope.base64 is not None:
        raise ValueError("it has both `body` and `base64`")
    if envelope.base64 is None:
        return (envelope.body or "").encode()
    try:
        return base64.b64decode(envelope.base64, validate=True)
    except binascii.Error as error:
        raise ValueError(f"`base64` is not base64: {error}") from None


def _write_body(body: bytes) -> tuple[str | None, str | None]:
    """Return the fields ``body`` and ``base64``, of which one is None."""
    try:
        return body.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(body).decode()
