"""Getting bytes from a server, checked: into memory, piece by piece, or into a file."""

import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from piecework.client.carriers import Carrier, ReplyStream
from piecework.client.errors import ChecksumMismatch
from piecework.client.transport import PreparedRequest
from piecework.files import naming

SHA256_HEX_CHARS = 64
OnBytes = Callable[[int], object]
"""Is told how many bytes have come so far."""


@dataclass(frozen=True)
class Download:
    """Bytes that a server has. The reply's ETag, or ``known_checksum``, says what their SHA-256 must be."""

    carrier: Carrier
    request: PreparedRequest
    what: str
    """What they are, for messages."""
    known_checksum: Callable[[], Awaitable[str | None]] | None = None
    """Is asked when the reply says nothing."""

    async def read(self) -> bytes:
        """Return the bytes; for what fits into memory. Raises ChecksumMismatch."""

        async def fetch() -> bytes:
            async with self.carrier.open_stream(self.request) as stream:
                content = (await stream.read()).content
            announced = _announced_checksum(stream)
            if announced:
                self._compare(announced, hashlib.sha256(content).hexdigest())
            return content

        return await self.carrier.repeat(fetch)

    async def stream(self) -> AsyncIterator[bytes]:
        """Go through the bytes piece by piece; not repeated when it breaks off.

        Raises ChecksumMismatch after the last piece.
        """
        digest = hashlib.sha256()
        async with self.carrier.open_stream(self.request) as stream:
            async for piece in stream:
                digest.update(piece)
                yield piece
        self._compare(_announced_checksum(stream) or digest.hexdigest(), digest.hexdigest())

    async def save(self, path: Path, checksum: str | None = None, on_bytes: OnBytes = lambda _: None) -> int:
        """Write the bytes to a file and return how many they are.

        The file appears under its name only when it is complete and its SHA-256 was checked, against ``checksum``
        when given. A device or named pipe at ``path`` is written to as it is. Raises ChecksumMismatch.
        """
        path = path.resolve()  # noqa: ASYNC240  # quick, and needs no thread
        if path.exists() and not path.is_file():
            with naming(path), path.open("wb") as device:
                return sum([device.write(piece) async for piece in self.stream()])
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with naming(path), part.open("xb") as file:
                size, expected, found = await self.carrier.repeat(lambda: self._copy(file, on_bytes))
            if not (checksum or expected) and self.known_checksum is not None:
                checksum = await self.known_checksum()
            self._compare(checksum or expected or found, found)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return size

    async def _copy(self, file: BinaryIO, on_bytes: OnBytes) -> tuple[int, str, str]:
        """Copy the bytes into a file from its start; return size, announced checksum ("": none) and theirs."""
        file.seek(0)
        file.truncate()
        digest = hashlib.sha256()
        async with self.carrier.open_stream(self.request) as stream:
            async for piece in stream:
                digest.update(piece)
                file.write(piece)
                on_bytes(file.tell())
        return file.tell(), _announced_checksum(stream), digest.hexdigest()

    def _compare(self, expected: str, found: str) -> None:
        if expected != found:
            raise ChecksumMismatch(self.what, expected, found)


def _announced_checksum(stream: ReplyStream) -> str:
    """Return the SHA-256 that the reply carries as its ETag; "" when that is something else."""
    tag = stream.headers.get("etag", "").removeprefix("W/").strip('"').lower()
    return tag if len(tag) == SHA256_HEX_CHARS else ""
