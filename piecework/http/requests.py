"""Requests as servers get them: from what was sent to what WSGI calls an environment."""

import re
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

SCOPE = "asgi.scope"
"""In an environment: the request as it was sent (ASGI, HTTP connection scope)."""
WATCH = "piecework.watch"
"""In an environment: has a function called when the caller leaves, or has its answer. Missing: nobody knows."""
HOLD = "piecework.hold"
"""In an environment: sends a response (a WSGI app) in place of one that was HELD. Missing: none can be."""
HELD: list[bytes] = []
"""What an app returns to have its answer sent later, by HOLD; nothing else may return this very list."""
NAMES_MAX = 512
"""So many names of headers, and hosts, are kept with what became of them: most requests have the same few."""


class _Keys(dict[bytes, str]):
    """What names of headers become in an environment; nothing for those that are left out."""

    def __init__(self, *, underscores: bool) -> None:
        super().__init__()
        self._underscores = underscores

    def __missing__(self, name: bytes) -> str:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
            key = f"HTTP_{key}"
        if b"_" in name and not self._underscores:
            key = ""
        if len(self) < NAMES_MAX:
            self[name] = key
        return key


_KEYS = {underscores: _Keys(underscores=underscores) for underscores in (False, True)}

HOST_FAULT = "a request has one Host header, and that has nothing but a host and a port (RFC 9112, section 3.2)"
OLD_VERSIONS = frozenset({"1", "1.0"})
"""Of HTTP: requests of these need not name a host."""
_HOST = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+;=%-]+|\[[0-9A-Za-z:.~%-]+\])(?::[0-9]*)?")
"""Without the comma, which RFC 3986 allows: with it servers join the values of several headers."""


@lru_cache(NAMES_MAX)
def has_host_fault(version: str, host: str) -> bool:
    """Tell whether a request must be refused with 400 for its Host header, as ``HOST_FAULT`` has it.

    ``version`` is that of HTTP, ``host`` the values that came, joined with commas; "" when none came, as granian
    tells it. Programs on the way may each believe another one of two.
    """
    return _HOST.fullmatch(host) is None if host else version not in OLD_VERSIONS


def make_environ(scope: Mapping[str, Any], body: object, *, underscores: bool) -> "WSGIEnvironment":
    """Return the environment of a request (PEP 3333).

    A header with an underscore in its name is left out unless ``underscores`` is set: it would be taken for the
    one with hyphens, which a proxy before this server may vouch for.
    """
    path = scope.get("raw_path") or scope["path"].encode()
    host, port = scope["server"]
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": str(host),
        "SERVER_PORT": str(port),
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
    keys = _KEYS[underscores]
    for name, value in scope["headers"]:
        key, text = keys[name], value.decode("latin-1")
        if key in environ:
            text = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
        if key:
            environ[key] = text
    return environ


def find_length(scope: Mapping[str, Any]) -> int | None:
    """Return how long the body is said to be; None when that is not known."""
    told = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(told[0]) if told and told[0].isdigit() else None


class _Names(dict[str, bytes]):
    """What names of headers become in an answer."""

    def __missing__(self, name: str) -> bytes:
        sent = name.lower().encode("latin-1")
        if len(self) < NAMES_MAX:
            self[name] = sent
        return sent


_NAMES = _Names()


def encode_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Return headers of an answer as they are sent: each character is a byte, or else all are UTF-8."""
    try:
        return [(_NAMES[name], value.encode("latin-1")) for name, value in headers]
    except UnicodeEncodeError:
        return [(_NAMES[name], _encode(value)) for name, value in headers]


def _encode(value: str) -> bytes:
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return value.encode()
