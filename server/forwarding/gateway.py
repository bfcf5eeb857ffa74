"""The door to functions, before Flask: ``/functions/…`` is called, all else goes to the app.

What WSGI does not tell cannot be passed on: the path comes decoded, and is encoded anew; values of headers of one
name come joined by commas. The proxy that runs alone has another door, ``server.forwarding.front``. For the whole
server that one is too dear: with Flask behind an event loop a contract takes about 1.8 times the CPU.
"""

import threading
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from server.api.paths import PREFIX
from server.forwarding.messages import Call, Reply, to_text
from server.services import Services
from server.services.callers import note_caller

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    from server.forwarding.calls import Calls

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
        self._calls: tuple[Services, Calls] | None = None

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        room = find_room(path)
        if room is None:
            note_caller(environ.get("REMOTE_ADDR"))
            return self._app(environ, start_response)
        reply = self._find_calls().answer(read_call(environ, path[len(room) :]))
        start_response(_REASONS.get(reply.status, f"{reply.status} Unknown"), _write_headers(reply))
        return [reply.body] if isinstance(reply.body, bytes) else reply.body

    def _find_calls(self) -> "Calls":
        services: Services = self._extensions["piecework"]
        known = self._calls
        if known is None or known[0] is not services:
            # What it needs takes a tenth of a second to import, and many servers have no function.
            from server.forwarding.calls import Calls  # noqa: PLC0415

            with self._lock:
                known = self._calls = (services, Calls(services))
        return known[1]


def find_room(path: str) -> str | None:
    """Return what stands before the function's name in a path; None when it names no function."""
    return next((room for room in _ROOMS if path.startswith(room) and len(path) > len(room)), None)


def read_call(environ: "WSGIEnvironment", path: str) -> Call:
    """Return the call that a WSGI request is; ``path`` follows ``/functions/``."""
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name[:5] == "HTTP_"}
    if kind := environ.get("CONTENT_TYPE"):
        headers["content-type"] = kind
    length = environ.get("CONTENT_LENGTH")
    return Call(
        method=environ["REQUEST_METHOD"],
        path=quote(path.encode("latin-1"), safe=_PLAIN),
        query=environ.get("QUERY_STRING", ""),
        headers=tuple(headers.items()),
        body=environ["wsgi.input"],
        length=int(length) if length else None if "HTTP_TRANSFER_ENCODING" in environ else 0,
        peer=environ.get("REMOTE_ADDR", ""),
        scheme=environ["wsgi.url_scheme"],
    )


def _write_headers(reply: Reply) -> list[tuple[str, str]]:
    """Return the headers of a reply as texts, which granian sends in UTF-8."""
    return [(name, to_text(value)) for name, value in reply.headers]
