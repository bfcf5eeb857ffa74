"""HTTP requests and responses as plain records, and as the envelopes that jobs carry them in."""

import base64
import binascii
from typing import NamedTuple

import msgspec

Headers = tuple[tuple[str, str], ...]
"""Names and values, in order; a name may come again."""


class Request(NamedTuple):
    """An HTTP request."""

    method: str = "GET"
    uri: str = "/"
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
    """The text is no request that a job can carry; the message says why."""


class _RequestEnvelope(msgspec.Struct, forbid_unknown_fields=True):
    """A request as the input of a job: JSON with either a text or base64 as its body."""

    method: str = "GET"
    uri: str = "/"
    headers: dict[str, str] = {}
    body: str | None = None
    base64: str | None = None


class _ResponseEnvelope(msgspec.Struct, omit_defaults=True):
    status: int
    headers: dict[str, str]
    body: str | None = None
    base64: str | None = None


def read_request(envelope: bytes) -> Request:
    """Return the request that a job's input is. Raises EnvelopeError."""
    try:
        found = msgspec.json.decode(envelope or b"{}", type=_RequestEnvelope)
        body = (found.body or "").encode()
        if found.base64 is not None:
            body = base64.b64decode(found.base64, validate=True)
    except (msgspec.DecodeError, UnicodeError, binascii.Error) as error:
        raise EnvelopeError(f"the input is no HTTP request envelope: {error}") from None
    if found.body is not None and found.base64 is not None:
        raise EnvelopeError("the input is no HTTP request envelope: it has both `body` and `base64`")
    return Request(found.method.upper(), found.uri, tuple(found.headers.items()), body)


def write_response(response: Response) -> bytes:
    """Return the output of a job for a response. Values of headers with the same name are joined by commas."""
    headers: dict[str, str] = {}
    for name, value in response.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    envelope = _ResponseEnvelope(status=response.status, headers=headers)
    try:
        envelope.body = response.body.decode()
    except UnicodeDecodeError:
        envelope.base64 = base64.b64encode(response.body).decode()
    return msgspec.json.encode(envelope)
