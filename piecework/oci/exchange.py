"""One request to a registry, and its answer piece by piece: bounded in size and in time."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote, urlsplit, urlunsplit

from piecework import __version__
from piecework.http.addresses import is_loopback
from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import Body, Connection
from piecework.http.deadlines import Deadline
from piecework.http.routes import CA_VARIABLES, ServerRoute, find_route
from piecework.http.sockets import find_reason, open_socket
from piecework.oci.errors import Damaged, OciError, quote_text

PIECE_S, WHOLE_S = 30.0, 1800.0
"""How long each wait, and a whole pull or push, may take."""
_SAFE = "/%:@!$&'()*+,;=~?"
_CERTIFICATES = ("etc/docker/certs.d", "etc/containers/certs.d")
"""Where Docker and Podman look for certificates of a registry, in a folder that is called as its host and port."""


@dataclass(frozen=True)
class RegistryAccess:
    """How registries are reached, and where login data are looked for."""

    environ: Mapping[str, str] = field(repr=False)
    home: Path
    plain_http: bool = False
    """Registries are spoken to without TLS. Those on this machine are anyway, if they do not speak it."""
    ca: Path | None = None
    """Certificates to trust, in place of those that the environment or the system has for registries."""
    piece_s: float = PIECE_S
    whole_s: float = WHOLE_S
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], object] = time.sleep
    root: Path = Path("/")
    """Where the system's settings are."""


class RegistryRequest(NamedTuple):
    """What is sent."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: Body = None


class _JoinedAnswer(Answer):
    """An answer in which challenges of several lines are one."""

    def on_header(self, name: bytes, value: bytes) -> None:
        before = self.headers.get("www-authenticate")
        super().on_header(name, value)
        if before is not None and name.lower() == b"www-authenticate":
            self.headers["www-authenticate"] = f"{before}, {self.headers['www-authenticate']}"


class RegistryReply:
    """An answer whose body comes as it is asked for. To be closed, as a context manager is."""

    def __init__(self, url: str, connection: Connection, answer: Answer) -> None:
        self.url = url
        self.status = answer.status
        self.headers = answer.headers
        self._connection = connection
        self._answer = answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def pieces(self, most_bytes: int, what: str) -> Iterator[bytes]:
        """Go through the body. Raises Damaged as soon as it has more bytes, OciError if it breaks off."""
        told = self.headers.get("content-length", "")
        if told.isdecimal() and int(told) > most_bytes:
            raise Damaged(f"{what} has {told} bytes, and {most_bytes} are the most")
        encoding = self.headers.get("content-encoding", "identity")
        if encoding.lower() != "identity":
            raise Damaged(f"{what} comes with Content-Encoding: {quote_text(encoding)}, which nobody asked for")
        size = 0
        while True:
            if piece := self._answer.take():
                size += len(piece)
                if size > most_bytes:
                    raise Damaged(f"{what} has more than {most_bytes} bytes, the most")
                yield piece
            if self._answer.complete:
                return
            try:
                self._connection.receive(self._answer)
            except (Broken, NotHttp) as error:
                raise OciError(f"{what} did not come whole: {error}") from error

    def read(self, most_bytes: int, what: str) -> bytes:
        """Return the body, as ``pieces`` has it."""
        return b"".join(self.pieces(most_bytes, what))


def exchange(request: RegistryRequest, access: RegistryAccess, deadline: Deadline) -> RegistryReply:
    """Send a request and return its answer. Raises OciError."""
    place = urlsplit(request.url).netloc
    route = find_way(request.url, access)
    connection: Connection | None = None
    try:
        connection = Connection(open_socket(route, access.piece_s, deadline))
        head = _write_head(request, route)
        answer = connection.exchange(head, request.body, access.piece_s, _JoinedAnswer(), deadline)
    except (Broken, NotHttp, OSError) as error:
        if connection is not None:
            connection.close()
        reason = error if isinstance(error, Broken | NotHttp) else find_reason(error)
        raise OciError(f"{place} does not answer: {reason}") from error
    if request.method == "HEAD":
        answer.complete = True  # whatever length it tells, no body follows
    return RegistryReply(request.url, connection, answer)


def find_way(url: str, access: RegistryAccess) -> ServerRoute:
    """Return how to get to where a URL leads: never through a proxy to this machine. Raises OciError."""
    parts = urlsplit(url)
    environ = {name: value for name, value in access.environ.items() if name != CA_VARIABLES[0]}
    try:
        ca = access.ca or find_certificates(parts.netloc, access)
        route = find_route(urlunsplit((parts.scheme, parts.netloc, "", "", "")), ca, environ)
    except ValueError as error:
        raise OciError(quote_text(error)) from error
    return replace(route, proxy=None, target="") if is_loopback(route.host) else route


def find_certificates(place: str, access: RegistryAccess) -> Path | None:
    """Return the file or folder with certificates that Docker or Podman would trust for a registry."""
    personal = access.home / ".config" / "containers" / "certs.d"
    for folder in (*(access.root / each for each in _CERTIFICATES), personal):
        found = folder / place / "ca.crt"
        if found.is_file():
            return found
    return None


def origin(url: str) -> tuple[str, str, int | None]:
    """Return to whom a URL leads: login data for one are for no other. Raises ValueError."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _write_head(request: RegistryRequest, route: ServerRoute) -> bytes:
    parts = urlsplit(request.url)
    target = quote(urlunsplit(("", "", parts.path or "/", parts.query, "")), safe=_SAFE)
    body = request.body
    has_body = request.method not in {"GET", "HEAD"}
    lines = [
        f"{request.method} {route.target}{target} HTTP/1.1",
        f"Host: {route.authority}",
        f"User-Agent: piecework/{__version__}",
        "Accept-Encoding: identity",
        "Connection: close",
        *(f"{name}: {value}" for name, value in request.headers),
        *([f"Content-Length: {0 if body is None else len(body)}"] if has_body else []),
    ]
    return ("\r\n".join(lines) + f"\r\n{route.proxy_header}\r\n").encode("latin-1")
