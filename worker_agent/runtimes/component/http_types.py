"""``wasi:http/types``: headers, requests, responses and their bodies, as a guest handles them."""

import re
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakSet

from piecework.http.exchange import HEAD_BYTES, HOP_BY_HOP, Headers, Request, Response
from piecework.worker_agent.runtimes.component.guest import ComponentGuest, FailureError, fail
from piecework.worker_agent.runtimes.component.io_calls import IoError, Sink, StreamError
from piecework.worker_agent.runtimes.streams import OutputFullError

FIELDS, IN_REQUEST, IN_RESPONSE, IN_BODY, TRAILERS, FUTURE = range(7, 13)
OUT_REQUEST, OPTIONS, OUT_RESPONSE, OUT_BODY, OUTPARAM = range(13, 18)
METHODS = ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")
FORBIDDEN = HOP_BY_HOP - {"trailer"} | {"host", "http2-settings"}
"""Headers that a guest cannot have: the host tells them."""
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_BAD_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_TARGET = re.compile(r"[\x00-\x20\x7f]")

FIELDS_MAX = 128
"""So many headers and trailers a guest may have at a time, each of at most HEAD_BYTES."""

Entries = list[tuple[str, bytes]]


class Fields:
    """Headers or trailers, in order."""

    def __init__(self, entries: Entries | None = None) -> None:
        self.entries: Entries = entries or []
        self.frozen = False
        """They belong to a request or response, and cannot be changed."""
        self._check_size()

    @classmethod
    def of(cls, headers: Headers) -> "Fields":
        """Return the headers of a message that came, without those that are about its connection."""
        kept = [(name, value.encode()) for name, value in headers if name.lower() not in HOP_BY_HOP]
        fields = cls.__new__(cls)
        fields.entries, fields.frozen = kept, True
        return fields

    def find(self, name: str) -> list[bytes]:
        wanted = name.lower()
        return [value for each, value in self.entries if each.lower() == wanted]

    def add(self, name: str, values: Iterable[bytes]) -> None:
        """Raises FailureError."""
        self.check_changeable()
        self.entries += [_check_entry(name, value) for value in values]
        self._check_size()

    def replace(self, name: str, values: Iterable[bytes]) -> None:
        """Likewise. No value at all: the name is gone."""
        self.check_changeable()
        checked = [_check_entry(name, value) for value in values]
        self.remove(name)
        self.entries += checked
        self._check_size()

    def remove(self, name: str) -> list[bytes]:
        """Remove a name, and return its values. Raises FailureError."""
        self.check_changeable()
        _check_name(name)
        found, wanted = self.find(name), name.lower()
        self.entries = [entry for entry in self.entries if entry[0].lower() != wanted]
        return found

    def check_changeable(self) -> None:
        """Raise FailureError when they belong to a message."""
        if self.frozen:
            raise FailureError(("immutable", None))

    def freeze(self) -> "Fields":
        self.frozen = True
        return self

    def to_headers(self) -> Headers:
        return tuple((name, value.decode(errors="replace")) for name, value in self.entries)

    def _check_size(self) -> None:
        if sum(len(name) + len(value) + 4 for name, value in self.entries) > HEAD_BYTES:
            fail(f"its headers have more than {HEAD_BYTES} bytes")


def make_fields(guest: ComponentGuest, entries: Entries | None = None) -> Fields:
    """Return new headers of a guest, which ends when it has too many."""
    fields = Fields(entries)
    guest.fields.add(fields)
    if len(guest.fields) > FIELDS_MAX:
        fail(f"it has headers for more than {FIELDS_MAX} messages at a time")
    return fields


def from_list(guest: ComponentGuest, entries: Entries) -> Fields:
    return make_fields(guest, [_check_entry(name, value) for name, value in entries])


def clone(guest: ComponentGuest, fields: Fields) -> Fields:
    return make_fields(guest, list(fields.entries))


def _check_name(name: str) -> None:
    if not _TOKEN.fullmatch(name):
        raise FailureError(("invalid-syntax", None))
    if name.lower() in FORBIDDEN:
        raise FailureError(("forbidden", None))


def _check_entry(name: str, value: bytes) -> tuple[str, bytes]:
    _check_name(name)
    if _BAD_VALUE.search(value):
        raise FailureError(("invalid-syntax", None))
    return name, value


class InBody:
    """A body that came, which is there as a whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._taken = False

    def take_stream(self) -> "InBody":
        """Return the stream of it, once. Raises FailureError."""
        if self._taken:
            raise FailureError
        self._taken = True
        return self

    def read(self, size: int) -> bytes:
        """See ``InputBytes``."""
        part = self._data[self._place : self._place + size]
        if not part:
            raise StreamError
        self._place += len(part)
        return part


class Incoming:
    """A request or response that came."""

    def __init__(self, headers: Headers, body: bytes) -> None:
        self.headers = Fields.of(headers)
        self._body = body
        self._taken = False

    def consume(self) -> InBody:
        """Return its body, once. Raises FailureError."""
        if self._taken:
            raise FailureError
        self._taken = True
        return InBody(self._body)


class InRequest(Incoming):
    """The request that a guest answers."""

    def __init__(self, request: Request) -> None:
        super().__init__(request.headers, request.body)
        self.method = read_method(request.method)
        self.path = request.uri or "/"
        self.authority = next((value for name, value in request.headers if name.lower() == "host"), "localhost")


class InResponse(Incoming):
    """What a request of the guest was answered with. The guest's list of requests has it until it is dropped."""

    def __init__(self, guest: ComponentGuest, response: Response) -> None:
        super().__init__(response.headers, response.body)
        self.status = response.status
        self._guest = guest

    def close(self) -> None:
        """Count it no more."""
        self._guest.requests -= 1


class OutBody:
    """A body that the guest writes."""

    def __init__(self, siblings: "WeakSet[OutBody]", limit_bytes: int) -> None:
        """``siblings`` are the bodies that have no more than ``limit_bytes`` with it together."""
        self.data = bytearray()
        self.finished = False
        self.dropped = False
        """It will never be finished."""
        self.on_finish: Callable[[], object] | None = None
        """Called when it is finished, or dropped."""
        self._siblings, self._limit_bytes = siblings, limit_bytes
        siblings.add(self)
        self._taken = False

    def take_stream(self) -> Sink:
        """Return the stream of it, once. Raises FailureError."""
        if self._taken:
            raise FailureError
        self._taken = True
        return Sink(self.write)

    def write(self, data: bytes) -> None:
        """See ``OutputBytes``."""
        if self.finished or self.dropped:
            raise StreamError
        if sum(len(each.data) for each in self._siblings) + len(data) > self._limit_bytes:
            self.refuse()
        self.data += data

    def refuse(self) -> None:
        """End the guest: there is no room for so large a response."""
        raise OutputFullError

    def close(self) -> None:
        """Note that the guest gave it up."""
        self.dropped = not self.finished
        if self.on_finish is not None:
            self.on_finish()


class SentBody(OutBody):
    """The body of a request to others."""

    def refuse(self) -> None:
        code = ("HTTP-request-body-size", self._limit_bytes)
        raise StreamError(IoError(f"requests have at most {self._limit_bytes} bytes together", code))


class Outgoing:
    """A request or response that the guest makes."""

    def __init__(self, headers: Fields, body: OutBody) -> None:
        self.headers = headers.freeze()
        self.content = body
        self.taken = False

    def take_body(self) -> OutBody:
        """Return its body, once. Raises FailureError."""
        if self.taken:
            raise FailureError
        self.taken = True
        return self.content


class OutResponse(Outgoing):
    """The response of a guest."""

    status = 200


class OutRequest(Outgoing):
    """A request of a guest to others."""

    method: tuple[str, Any] = ("get", None)
    path: str | None = None
    scheme: tuple[str, Any] | None = None
    authority: str | None = None

    def find_uri(self) -> str:
        """Return where it goes. Raises FailureError."""
        if not self.authority:
            raise FailureError(("HTTP-request-URI-invalid", None))
        scheme = "https" if self.scheme is None else (self.scheme[1] or self.scheme[0]).lower()
        return f"{scheme}://{self.authority}{self.path or '/'}"


class Options:
    """How long a guest will wait for a response, nanoseconds each; None: as long as it may."""

    def __init__(self) -> None:
        self.times: dict[str, int | None] = {}


class Outparam:
    """Where a guest puts its response, once."""

    def __init__(self) -> None:
        self.response: OutResponse | None = None
        self.failure: tuple[str, Any] | None = None
        """Why there is none, as the guest says."""

    def check(self) -> None:
        """End the guest when it returned without a whole response."""
        if self.failure is not None:
            fail(f"it answered with the error {': '.join(str(each) for each in self.failure if each)}")
        if self.response is None:
            fail("it returned without a response")
        if not self.response.content.finished:
            fail("it returned before it finished the body of its response")

    def make_response(self) -> Response:
        """Return what the guest put here."""
        assert self.response is not None
        response = self.response
        return Response(response.status, response.headers.to_headers(), bytes(response.content.data))


def read_method(name: str) -> tuple[str, Any]:
    """Return a method as a guest has it."""
    return (name.lower(), None) if name.isupper() and name.lower() in METHODS else ("other", name)


def write_method(method: tuple[str, Any]) -> str:
    return method[1] if method[0] == "other" else method[0].upper()


def check_method(method: tuple[str, Any]) -> tuple[str, Any]:
    """Return a method. Raises FailureError when it is none."""
    if not _TOKEN.fullmatch(write_method(method)):
        raise FailureError
    return method


def check_target(text: str | None) -> str | None:
    """Return a path or authority. Raises FailureError when no request could have it."""
    if text is not None and _BAD_TARGET.search(text):
        raise FailureError
    return text
