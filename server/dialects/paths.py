"""The many spellings of paths and queries that clients send, before Flask sees them."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from piecework.http.requests import SCOPE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/api/v0.5"
"""Everything that is served at / is served under this, too."""

_SLASHES = re.compile(r"//+")
_ASCII = "".join(map(chr, range(128)))
_OPEN = "piecework.open-path"
"""In an environment: the path was sent with a slash at its end."""


def plain_path(path: str) -> str:
    """Return the path without the prefix, doubled slashes and a slash at the end.

    Clients join their base URL, with or without a slash at its end, and a path that may start with one.
    """
    path = _SLASHES.sub("/", path)
    if path == PREFIX or path.startswith(PREFIX + "/"):
        path = path[len(PREFIX) :]
    return path.rstrip("/") or "/"


class PlainPaths:
    """WSGI middleware: the app behind it sees plain paths only, and queries in ASCII.

    A slash that was sent as ``%2F`` belongs to a key, and is left alone. Bytes of a query that should have been
    encoded are: Flask would raise for those that are no UTF-8.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        sent = _find_sent(environ, path)
        environ[_OPEN] = sent.endswith("/")
        environ["PATH_INFO"] = plain_path(path) if sent is path else _decode(plain_path(sent))
        query = environ.get("QUERY_STRING", "")
        if not query.isascii():
            environ["QUERY_STRING"] = quote(query, safe=_ASCII, encoding="latin-1")
        return self._app(environ, start_response)


def _find_sent(environ: "WSGIEnvironment", path: str) -> str:
    """Return a path as it was sent, if it has encoded slashes and the server tells it; else as it is decoded."""
    scope = environ.get(SCOPE)
    sent = (
        scope.get("raw_path", b"").decode("latin-1") if scope else environ.get("REQUEST_URI", "").partition("?")[0]
    )
    return sent if "%2f" in sent.lower() and _decode(sent) == path else path


def _decode(path: str) -> str:
    return unquote_to_bytes(path).decode("latin-1")


def was_open(environ: "WSGIEnvironment") -> bool:
    """Tell whether the path had a slash at its end when it came."""
    return bool(environ.get(_OPEN))
