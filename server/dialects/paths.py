"""The many spellings of a path that clients send, before Flask sees them."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from piecework.http.requests import SCOPE

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/api/v0.5"
"""Everything that is served at / is served under this, too."""

_SLASHES = re.compile(r"//+")
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
    """WSGI middleware: the app behind it sees plain paths only.

    A slash that was sent as ``%2F`` belongs to a key, and is left alone where the server tells what was sent.
    """

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        sent = environ[SCOPE].get("raw_path", b"").decode("latin-1") if SCOPE in environ else ""
        environ[_OPEN] = (sent or path).endswith("/")
        if "%2f" in sent.lower():
            environ["PATH_INFO"] = unquote_to_bytes(plain_path(sent)).decode("latin-1")
        else:
            environ["PATH_INFO"] = plain_path(path)
        return self._app(environ, start_response)


def was_open(environ: "WSGIEnvironment") -> bool:
    """Tell whether the path had a slash at its end when it came."""
    return bool(environ.get(_OPEN))
