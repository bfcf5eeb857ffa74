"""Large blobs that go to S3, and come from there, without the server between, where its operator allows that.

The server says where, with a URL that it signs for one blob, which S3 checks. When that fails for whatever reason,
the blob goes through the server as all others do, and so do those of the next minutes.
"""

import hashlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit, urlunsplit

import structlog
from msgspec import UNSET

from piecework import __version__
from piecework.client import ApiError, Client
from piecework.client.calls import AnyId
from piecework.client.downloads import OnBytes
from piecework.client.uploads import Source
from piecework.http.answers import Answer, Broken, NotHttp
from piecework.http.connections import Body, Connection
from piecework.http.routes import ServerRoute, find_route
from piecework.http.sockets import find_reason, open_socket
from piecework.protocol.codes import Code
from piecework.protocol.messages import DIRECT_LEAST_BYTES, DataReply, DirectReply

log = structlog.get_logger()

OFF_S = 300.0
"""For so long the server is not asked again after it failed, or is not allowed."""
CONNECT_S, ANSWER_S = 5.0, 60.0
STORED_BYTES_PER_S = 10 << 20
"""S3 stores what it was sent at this speed at least."""
PIECE_BYTES = 256 * 1024


class DirectError(Exception):
    """S3 did not give or take a blob; the message says why, without the URL."""


class DirectWay:
    """Whether there is a way to S3 now."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._closed_until = -OFF_S

    @property
    def is_open(self) -> bool:
        return self._monotonic() >= self._closed_until

    def close(self, reason: str = "") -> None:
        """Do without it for some minutes; the log tells the reason, if there is one."""
        self._closed_until = self._monotonic() + OFF_S
        if reason:
            log.warning("blobs go through the server for some minutes", reason=reason)

    def ask(self, ask: Callable[[], DirectReply]) -> DirectReply | None:
        """Return what the server answers; None when it knows nothing of it, or does not allow it."""
        if not self.is_open:
            return None
        try:
            found = ask()
        except ApiError as error:
            if error.code != Code.NO_SUCH_PATH:
                raise
            self.close()
            return None
        if not found.allowed:
            self.close()
            return None
        return found


class DirectClient(Client):
    """A client whose large blobs take the way to S3 where there is one, and go through the server elsewhere."""

    def _prepare(self, url: str | Sequence[str], token: str, **options: Any) -> None:
        super()._prepare(url, token, **options)
        self.way = DirectWay()

    def download(
        self, blob_id: AnyId, path: Path, *, checksum: str | None = None, on_bytes: OnBytes = lambda _: None
    ) -> int:
        if checksum is not None:
            found = self.way.ask(lambda: self.find_direct(blob_id))
            if found and found.url:
                try:
                    return fetch(found.url, path, checksum, on_bytes)
                except DirectError as error:
                    self.way.close(str(error))
        return super().download(blob_id, path, checksum=checksum, on_bytes=on_bytes)

    def upload(self, source: Source, name: str = "") -> DataReply:
        with _opened(source) as file:
            if file is not None and self.way.is_open:
                start = file.tell()
                stored = self._store(_FileBody(file, start))
                if stored is not None:
                    return stored
                file.seek(start)
            return super().upload(file or source, name)

    def _store(self, body: "_FileBody") -> DataReply | None:
        """Put a blob into S3; None when it must go through the server."""
        if len(body) < DIRECT_LEAST_BYTES:
            return None
        checksum = body.find_checksum()
        found = self.way.ask(lambda: self.upload_direct(checksum, len(body)))
        if found and found.url:
            try:
                put(found.url, found.headers, body)
            except DirectError as error:
                self.way.close(str(error))
                return None
            found = self.upload_direct(checksum, len(body))
        return DataReply(id=found.id, checksum=checksum) if found and found.id is not UNSET else None


class _FileBody:
    """What a file has from some place on, as the body of a request."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        self._size = file.seek(0, os.SEEK_END) - start

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(self._start)
        left = self._size
        while left and (piece := self._file.read(min(PIECE_BYTES, left))):
            left -= len(piece)
            yield piece
        if left:
            raise OSError("the file became shorter while it was sent")

    def find_checksum(self) -> str:
        """Return the SHA-256, hex."""
        digest = hashlib.sha256()
        for piece in self:
            digest.update(piece)
        return digest.hexdigest()


def fetch(url: str, path: Path, checksum: str, on_bytes: OnBytes) -> int:
    """Write what is at a URL to a file, and return its size, bytes. Raises DirectError, also for other bytes."""
    digest, size = hashlib.sha256(), 0
    with _exchange("GET", url, (), None, ANSWER_S) as (connection, answer), path.open("wb") as file:
        while True:
            if piece := answer.take():
                digest.update(piece)
                size += len(piece)
                file.write(piece)
                on_bytes(size)
            if answer.complete:
                break
            connection.receive(answer)
    if digest.hexdigest() != checksum:
        raise DirectError("S3 gave other bytes than those of the blob")
    return size


def put(url: str, headers: Iterable[str], body: _FileBody) -> None:
    """Send a blob to a URL. Raises DirectError."""
    timeout_s = ANSWER_S + len(body) / STORED_BYTES_PER_S
    with _exchange("PUT", url, [f"Content-Length: {len(body)}", *headers], body, timeout_s):
        pass


@contextmanager
def _exchange(
    method: str, url: str, headers: Iterable[str], body: Body, timeout_s: float
) -> Iterator[tuple[Connection, Answer]]:
    """Give a good answer, whose body is still to come. Raises DirectError for all others."""
    parts = urlsplit(url)
    try:
        route = find_route(urlunsplit((parts.scheme, parts.netloc, "", "", "")))
        lines = [
            f"{method} {route.target}{urlunsplit(('', '', parts.path or '/', parts.query, ''))} HTTP/1.1",
            f"Host: {route.authority}",
            f"User-Agent: piecework/{__version__}",
            "Accept-Encoding: identity",
            "Connection: close",
            *headers,
        ]
        if not all(line.isascii() and line.isprintable() for line in lines) or lines[0].count(" ") != 2:
            raise ValueError("the server told a URL, or headers, that no request can have")
        head = ("\r\n".join(lines) + f"\r\n{route.proxy_header}\r\n").encode()
        with closing(_connect(route)) as connection:
            answer = connection.exchange(head, body, timeout_s)
            if answer.status != 200:
                raise DirectError(f"{parts.hostname} answered {answer.status} {answer.reason}".rstrip())
            yield connection, answer
    except (Broken, NotHttp, ValueError) as error:
        raise DirectError(f"{parts.hostname}: {error}") from error


def _connect(route: ServerRoute) -> Connection:
    try:
        return Connection(open_socket(route, CONNECT_S))
    except OSError as error:
        raise Broken(find_reason(error)) from error


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO | None]:
    """Give a source as a file that can be read twice; None for one that cannot."""
    if isinstance(source, bytes):
        yield io.BytesIO(source)
    elif isinstance(source, Path):
        with source.open("rb") as file:
            yield file if file.seekable() else None
    else:
        yield source if source.seekable() else None
