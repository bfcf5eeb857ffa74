"""Requests as servers get them: from what was sent to what WSGI calls an environment."""

import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SCOPE = "asgi.scope"
"""In an environment: the request as it was sent (ASGI, HTTP connection scope)."""


def make_environ(scope: Mapping[str, Any], body: object, *, underscores: bool) -> "WSGIEnvironment":
    """Return the environment of a request (PEP 3333).

    A header with an underscore in its name is left out unless ``underscores`` is set: it would be taken for the
    one with hyphens, which a proxy before this server may vouch for.
    """
    path = scope.get("raw_path") or scope["path"].encode()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(scope["server"][0]),
        "SERVER_PORT": str(scope["server"][1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": scope["client"][0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.errors": sys.stderr,
        "wsgi.input": body,
        "wsgi.input_terminated": True,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        SCOPE: scope,
    }
    for name, value in scope["headers"]:
        if underscores or b"_" not in name:
            key = name.decode("latin-1").upper().replace("-", "_")
            key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
            text, joint = value.decode("latin-1"), "; " if key == "HTTP_COOKIE" else ","
            environ[key] = f"{environ[key]}{joint}{text}" if key in environ else text
    return environ


def find_length(scope: Mapping[str, Any]) -> int | None:
    """Return how long the body is said to be; None when that is not known."""
    told = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(told[0]) if told and told[0].isdigit() else None


def encode_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers of an answer as they are sent: each character is a byte, or else all are UTF-8."""
    return [(name.lower().encode("latin-1"), _encode(value)) for name, value in headers]


def _encode(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()
