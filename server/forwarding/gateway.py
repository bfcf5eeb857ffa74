"""The door to functions, before Flask: ``/functions/…`` is called, all else goes to the app.

Calls are passed on as they were sent, which ``piecework.http.threads`` tells. Under another WSGI server the path
comes decoded, and is encoded anew; values of headers of one name come joined by commas. The proxy that runs alone
has another door, ``asgi.py`` beside this file. For the whole server that one is too dear: with Flask behind an
event loop a contract takes about 1.8 times the CPU.
"""

import threading
from collections.abc import Iterable, Mapping, MutableMapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from piecework.http.requests import HOST_FAULT, SCOPE, WATCH, find_length, has_host_fault
from piecework.protocol.bodies import JSON, encode
from piecework.protocol.codes import Code
from piecework.protocol.messages import ErrorReply
from piecework.server.dialects.paths import PREFIX
from piecework.server.forwarding.messages import BodyStream, CallRefused, CallReply, Disconnect, FunctionCall
from piecework.server.services import Services
from piecework.server.services.callers import note_caller

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from piecework.server.forwarding.calls import CallForwarding

ROOM = "/functions/"
_ROOMS = (ROOM, PREFIX + ROOM)
_PLAIN = "/:@!$&'()*+,;=~"
"""What stands in a path as it is, beside letters, digits and ``-._`` (RFC 3986, section 3.3)."""
_REASONS = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


class FunctionGate:
    """WSGI middleware: calls of functions do not reach the app behind it."""

    def __init__(self, app: "WSGIApplication", extensions: Mapping[str, Any]) -> None:
        """``extensions`` has the services, under ``piecework``."""
        self._app = app
        self._extensions = extensions
        self._lock = threading.Lock()
        self._calls: tuple[Services, CallForwarding] | None = None

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        room = find_room(path)
        if has_host_fault(environ["SERVER_PROTOCOL"].removeprefix("HTTP/"), environ.get("HTTP_HOST", "")):
            reply = refuse_host() if room else _refuse_host_of_api()
        elif room is None:
            note_caller(environ.get(WATCH))
            try:
                return self._app(environ, start_response)
            finally:
                note_caller(None)
        else:
            reply = self._find_calls().answer(read_call(environ, path[len(room) :]))
        start_response(_REASONS.get(reply.status, f"{reply.status} Unknown"), reply.headers)
        return [reply.body] if isinstance(reply.body, bytes) else reply.body

    def answer(self, call: FunctionCall) -> CallReply:
        """Return the answer to a call that came another way."""
        return self._find_calls().answer(call)

    def _find_calls(self) -> "CallForwarding":
        services: Services = self._extensions["piecework"]
        known = self._calls
        if known is None or known[0] is not services:
            # What it needs takes a tenth of a second to import, and many servers have no function.
            from piecework.server.forwarding.calls import CallForwarding  # noqa: PLC0415

            with self._lock:
                known = self._calls = (services, CallForwarding(services))
        return known[1]


def refuse_host() -> CallReply:
    """Return the answer to a call whose Host header cannot be."""
    return CallRefused(400, "BAD_HOST", HOST_FAULT).reply()


def _refuse_host_of_api() -> CallReply:
    body = encode(ErrorReply(code=int(Code.ERROR), message=HOST_FAULT))
    return CallReply(400, [("Content-Type", JSON), ("Content-Length", str(len(body)))], body)


def find_room(path: str) -> str | None:
    """Return what stands before the function's name in a path; None when it names no function."""
    return next((room for room in _ROOMS if path.startswith(room) and len(path) > len(room)), None)


def read_call(environ: "WSGIEnvironment", path: str) -> FunctionCall:
    """Return the call that a WSGI request is: as it was sent, when the server tells that.

    Else ``path`` is what follows ``/functions/``, decoded.
    """
    disconnect = Disconnect()
    if scope := environ.get(SCOPE):
        call = read_scope(scope, _Heard(environ["wsgi.input"], disconnect), disconnect)
        return call.below(find_room(call.path) or "")
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    if kind := environ.get("CONTENT_TYPE"):
        headers["content-type"] = kind
    length = environ.get("CONTENT_LENGTH")
    return FunctionCall(
        method=environ["REQUEST_METHOD"],
        path=quote(path.encode("latin-1"), safe=_PLAIN),
        query=environ.get("QUERY_STRING", ""),
        headers=tuple(headers.items()),
        body=environ["wsgi.input"],
        length=int(length) if length else None if "HTTP_TRANSFER_ENCODING" in environ else 0,
        peer=environ.get("REMOTE_ADDR", ""),
        scheme=environ["wsgi.url_scheme"],
    )


class _Heard:
    """A body that ends where it breaks off, which then is known of the caller."""

    def __init__(self, body: BodyStream, disconnect: Disconnect) -> None:
        self._body = body
        self._disconnect = disconnect

    def read(self, size: int, /) -> bytes:
        try:
            return self._body.read(size)
        except OSError:
            self._disconnect.note()
            return b""


def read_scope(scope: MutableMapping[str, Any], body: BodyStream, disconnect: Disconnect) -> FunctionCall:
    """Return the call that a request is, as it was sent (ASGI), with its whole path."""
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"])
    is_chunked = any(name == "transfer-encoding" for name, _ in headers)
    length = find_length(scope)
    return FunctionCall(
        method=scope["method"],
        path=(scope.get("raw_path") or scope["path"].encode()).decode("latin-1"),
        query=scope["query_string"].decode("latin-1"),
        headers=headers,
        body=body,
        length=length if length is not None else None if is_chunked else 0,
        peer=scope["client"][0],
        scheme=scope["scheme"],
        disconnect=disconnect,
    )
