"""The many spellings of a path that clients send, before Flask sees them."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PREFIX = "/api/v0.5"
"""Everything that is served at / is served under this, too."""

_SLASHES = re.compile(r"//+")


def plain_path(path: str) -> str:
    """Return the path without the prefix, doubled slashes and a slash at the end.

    Clients join their base URL, with or without a slash at its end, and a path that may start with one.
    """
    path = _SLASHES.sub("/", path)
    if path == PREFIX or path.startswith(PREFIX + "/"):
        path = path[len(PREFIX) :]
    return path.rstrip("/") or "/"


class PlainPaths:
    """WSGI middleware: the app behind it sees plain paths only."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["PATH_INFO"] = plain_path(environ.get("PATH_INFO", ""))
        return self._app(environ, start_response)
