"""Code from a URL into a file: http and https only, bounded in size and time, and looked at before it is used."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from piecework import __version__
from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import Connection
from piecework.http.routes import find_route
from piecework.http.sockets import find_reason, open_socket
from piecework.modules import DEFAULT, ModuleError, check_code, describe_bytes
from piecework.modules.binary import MAGIC
from piecework.worker_agent.errors import AgentError

REDIRECTS_MAX = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
SIZE_MAX_BYTES = 256 * 1024 * 1024
"""Of a module."""
WHOLE_S, PIECE_S = 300.0, 15.0
"""How long a download may take, and each wait in it."""
START_BYTES = 512
"""So much of a body is looked at before the rest is fetched."""
_SAFE = "/%:@!$&'()*+,;=~?"

FindToken = Callable[[str], str | None]
"""Returns the access token for a URL, if there is one for its server."""


class DownloadError(AgentError):
    """The code could not be downloaded."""


class NotCodeError(DownloadError):
    """What was downloaded is no module that can run."""


@dataclass(frozen=True)
class DownloadOptions:
    """How code is downloaded."""

    size_max_bytes: int = SIZE_MAX_BYTES
    whole_s: float = WHOLE_S
    piece_s: float = PIECE_S
    find_token: FindToken = lambda _url: None
    ca: Path | None = None
    """Certificates to trust instead of those that the environment names."""
    clock: Callable[[], float] = time.monotonic


def check_download_url(url: str) -> str:
    """Return a URL from which code can come. Raises DownloadError."""
    try:
        parts = urlsplit(url)
        _ = parts.port
        find_route(_origin(url))
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"}:
        raise DownloadError(f"{url[:200]!r} is not a URL of a module: it must begin with http:// or https://")
    return url


def download_module(
    url: str, path: Path, checksum: str | None = None, options: DownloadOptions | None = None
) -> str:
    """Write the wasm module at ``url`` to ``path`` and return its SHA-256, hex.

    Raises DownloadError, or NotCodeError when what came is no module or has another digest than ``checksum``.
    What was written then is of no use. Follows redirects, but none from https to http.
    """
    options = options or DownloadOptions()
    deadline_at = options.clock() + options.whole_s
    try:
        with _open(check_download_url(url), options, deadline_at) as pieces, path.open("wb") as file:
            found = _write(url, file, pieces)
    except (Broken, NotHttp) as error:
        raise DownloadError(f"{url} cannot be downloaded: {error}") from error
    except OSError as error:
        raise DownloadError(f"{url} cannot be stored: {error.strerror}") from error
    if checksum is not None and found != checksum:
        raise NotCodeError(f"{url} has the SHA-256 {found}, not {checksum} as it should")
    try:
        check_code(DEFAULT, path.read_bytes())
    except ModuleError as error:
        raise NotCodeError(f"{url} cannot run here: {error}") from error
    return found


def _write(url: str, file: BinaryIO, pieces: Iterator[bytes]) -> str:
    """Write what comes, if it begins as a module must; return its digest."""
    digest, start = hashlib.sha256(), b""
    for piece in pieces:
        if len(start) < START_BYTES:
            start += piece[:START_BYTES]
            _check_start(url, start)
        digest.update(piece)
        file.write(piece)
    if len(start) < len(MAGIC):
        raise NotCodeError(f"{url} is no wasm module: it has {len(start)} bytes")
    return digest.hexdigest()


def _check_start(url: str, start: bytes) -> None:
    if not start.startswith(MAGIC[: len(start)]):
        raise NotCodeError(f"{url} is no wasm module: what came is {describe_bytes(start)}")


@contextmanager
def _open(url: str, options: DownloadOptions, deadline_at: float) -> Iterator[Iterator[bytes]]:
    """Give the body of what is at ``url``, or behind its redirects."""
    for _ in range(REDIRECTS_MAX + 1):
        with _connect(url, options, deadline_at) as connection:
            answer = connection.exchange(_head(url, options), None, options.piece_s)
            if answer.status not in REDIRECTS:
                _check_answer(url, answer, options)
                yield _go_through(url, connection, answer, options, deadline_at)
                return
            url = _find_next(url, answer)
    raise DownloadError(f"{url} cannot be downloaded: more than {REDIRECTS_MAX} redirects")


@contextmanager
def _connect(url: str, options: DownloadOptions, deadline_at: float) -> Iterator[Connection]:
    if options.clock() > deadline_at:
        raise Broken("it took too long")
    try:
        connection = Connection(open_socket(find_route(_origin(url), options.ca), options.piece_s))
    except OSError as error:
        raise Broken(find_reason(error)) from error
    with closing(connection):
        yield connection


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, "", "", ""))


def _head(url: str, options: DownloadOptions) -> bytes:
    parts, route = urlsplit(url), find_route(_origin(url), options.ca)
    target = quote(urlunsplit(("", "", parts.path or "/", parts.query, "")), safe=_SAFE)
    token = options.find_token(url)
    lines = [
        f"GET {route.target}{target} HTTP/1.1",
        f"Host: {route.authority}",
        f"User-Agent: piecework/{__version__}",
        "Accept: application/wasm, */*",
        "Accept-Encoding: identity",
        "Connection: close",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    return ("\r\n".join(lines) + f"\r\n{route.proxy_header}\r\n").encode()


def _check_answer(url: str, answer: Answer, options: DownloadOptions) -> None:
    if answer.status != 200:
        raise DownloadError(f"{url} cannot be downloaded: the answer is {answer.status} {answer.reason}".rstrip())
    if int(answer.headers.get("content-length", "0")) > options.size_max_bytes:
        raise _too_large(url, options)
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise NotCodeError(f"{url} comes with Content-Encoding: {encoding}, which nobody asked for")


def _go_through(
    url: str, connection: Connection, answer: Answer, options: DownloadOptions, deadline_at: float
) -> Iterator[bytes]:
    size = 0
    while True:
        if piece := answer.take():
            size += len(piece)
            if size > options.size_max_bytes:
                raise _too_large(url, options)
            yield piece
        if answer.complete:
            return
        if options.clock() > deadline_at:
            raise Broken(f"it took longer than {options.whole_s:g} s")
        connection.receive(answer)


def _too_large(url: str, options: DownloadOptions) -> NotCodeError:
    return NotCodeError(f"{url} has more than {options.size_max_bytes} bytes, the most for a module")


def _find_next(url: str, answer: Answer) -> str:
    """Return where a redirect leads."""
    location = answer.headers.get("location", "")
    if not location:
        raise DownloadError(f"{url} cannot be downloaded: a redirect without a Location")
    try:
        found = check_download_url(urljoin(url, location))
    except (ValueError, DownloadError):
        raise DownloadError(f"{url} cannot be downloaded: it redirects to {location[:200]!r}") from None
    if urlsplit(url).scheme == "https" and urlsplit(found).scheme == "http":
        raise DownloadError(f"{url} cannot be downloaded: it redirects to {found[:200]}, which is not encrypted")
    return found
