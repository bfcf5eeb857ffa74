"""Getting bytes from a server, checked: into memory, piece by piece, or into a file."""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from piecework.client.errors import ChecksumMismatch
from piecework.client.transport import PreparedRequest, Stream, Transport
from piecework.files import naming

SHA256_HEX_CHARS = 64
OnBytes = Callable[[int], object]
"""Is told how many bytes have come so far."""


@dataclass(frozen=True)
class Download:
    """Bytes that a server has. The reply's ETag, or ``known_checksum``, says what their SHA-256 must be."""

    transport: Transport
    request: PreparedRequest
    what: str
    """What they are, for messages."""
    known_checksum: Callable[[], str | None] = lambda: None
    """Is asked when the reply says nothing; None: not known."""

    def read(self) -> bytes:
        """Return the bytes; for what fits into memory. Raises ChecksumMismatch."""

        def fetch() -> bytes:
            with self.transport.open_stream(self.request) as stream:
                content = stream.read().content
            announced = _announced_checksum(stream)
            if announced:
                self._compare(announced, hashlib.sha256(content).hexdigest())
            return content

        return self.transport.repeat(fetch)

    def stream(self) -> Iterator[bytes]:
        """Go through the bytes piece by piece; not repeated when it breaks off.

        Raises ChecksumMismatch after the last piece.
        """
        digest = hashlib.sha256()
        with self.transport.open_stream(self.request) as stream:
            for piece in stream:
                digest.update(piece)
                yield piece
        self._compare(_announced_checksum(stream) or digest.hexdigest(), digest.hexdigest())

    def save(self, path: Path, checksum: str | None = None, on_bytes: OnBytes = lambda _: None) -> int:
        """Write the bytes to a file and return how many they are.

        The file appears under its name only when it is complete and its SHA-256 was checked, against ``checksum``
        when given. A device or named pipe at ``path`` is written to as it is. Raises ChecksumMismatch.
        """
        path = path.resolve()
        if path.exists() and not path.is_file():
            with naming(path), path.open("wb") as device:
                return sum(map(device.write, self.stream()))
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with naming(path), part.open("xb") as file:
                size, expected, found = self.transport.repeat(lambda: self._copy(file, on_bytes))
            self._compare(checksum or expected or self.known_checksum() or found, found)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return size

    def _copy(self, file: BinaryIO, on_bytes: OnBytes) -> tuple[int, str, str]:
        """Copy the bytes into a file from its start; return size, announced checksum ("": none) and theirs."""
        file.seek(0)
        file.truncate()
        digest = hashlib.sha256()
        with self.transport.open_stream(self.request) as stream:
            for piece in stream:
                digest.update(piece)
                file.write(piece)
                on_bytes(file.tell())
        return file.tell(), _announced_checksum(stream), digest.hexdigest()

    def _compare(self, expected: str, found: str) -> None:
        if expected != found:
            raise ChecksumMismatch(self.what, expected, found)


def _announced_checksum(stream: Stream) -> str:
    """Return the SHA-256 that the reply carries as its ETag; "" when that is something else."""
    tag = stream.headers.get("etag", "").removeprefix("W/").strip('"').lower()
    return tag if len(tag) == SHA256_HEX_CHARS else ""
