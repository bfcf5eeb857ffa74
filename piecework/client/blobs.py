"""The client's calls about blobs: upload, look, download, delete."""

import hashlib
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from piecework.client.calls import AnyId, Calls, path_id
from piecework.client.errors import ChecksumMismatch, NotFound
from piecework.client.replies import Reply, read_message
from piecework.client.transport import Request, Stream
from piecework.client.uploads import MultipartFile, Source
from piecework.protocol.messages import DataReply

SHA256_HEX_CHARS = 64


class BlobCalls(Calls):
    """Blobs: immutable bytes, known by their SHA-256."""

    def upload(self, source: Source) -> DataReply:
        """Store bytes, a file, or what an open binary file still holds; return its id and checksum.

        Streams: a large file is never in memory as a whole. Safe to repeat: the server knows blobs by their
        content. Raises ChecksumMismatch when the server stored other bytes than were sent.
        """
        request = Request("POST", "/data", repeatable=True)
        with MultipartFile(source) as body:

            def send() -> Reply:
                return self.transport.send_stream(request, body, body.content_type)

            reply = read_message(self.transport.repeat(send), DataReply)
            if reply.checksum != body.checksum:
                raise ChecksumMismatch("the upload", expected=body.checksum, found=reply.checksum)
        return reply

    def data(self, blob_id: AnyId) -> DataReply:
        """Return a blob's checksum and size. Raises NotFound."""
        request = Request("GET", f"/data/{path_id(blob_id)}", {"view": "full"}, repeatable=True)
        return self.transport.call(request, DataReply)

    def read(self, blob_id: AnyId) -> bytes:
        """Return a blob's bytes, checked; for blobs that fit into memory. Raises NotFound."""

        def fetch() -> bytes:
            with self._open_blob(blob_id) as stream:
                content = stream.read().content
            announced = _announced_checksum(stream)
            if announced:
                _compare(blob_id, announced, hashlib.sha256(content).hexdigest())
            return content

        return self.transport.repeat(fetch)

    def stream(self, blob_id: AnyId) -> Iterator[bytes]:
        """Go through a blob's bytes piece by piece, checked at the end; not repeated when it breaks off.

        Raises NotFound, and ChecksumMismatch after the last piece.
        """
        digest = hashlib.sha256()
        with self._open_blob(blob_id) as stream:
            for piece in stream:
                digest.update(piece)
                yield piece
        _compare(blob_id, _announced_checksum(stream) or digest.hexdigest(), digest.hexdigest())

    def download(
        self,
        blob_id: AnyId,
        path: Path,
        *,
        checksum: str | None = None,
        on_bytes: Callable[[int], object] = lambda _: None,
    ) -> int:
        """Write a blob to a file and return its size in bytes; tell ``on_bytes`` how many have come so far.

        The file appears under its name only when it is complete and its SHA-256 was checked: against
        ``checksum`` when given, else against what the server says. A device or named pipe at ``path`` is
        written to as it is. Raises NotFound or ChecksumMismatch.
        """
        path = path.resolve()
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                return sum(map(device.write, self.stream(blob_id)))
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:
                size, expected, found = self.transport.repeat(lambda: self._copy_blob(blob_id, file, on_bytes))
            _compare(blob_id, checksum or expected or self._known_checksum(blob_id) or found, found)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return size

    def delete_data(self, blob_id: AnyId) -> str:
        """Delete a blob and return what the server says.

        Raises Conflict while a lambda, a module or an unfinished job uses it, and NotFound.
        """
        return self._steer(Request("DELETE", f"/data/{path_id(blob_id)}", repeatable=True))

    def _open_blob(self, blob_id: AnyId) -> AbstractContextManager[Stream]:
        return self.transport.open_stream(Request("GET", f"/data/{path_id(blob_id)}/blob"))

    def _copy_blob(
        self, blob_id: AnyId, file: BinaryIO, on_bytes: Callable[[int], object]
    ) -> tuple[int, str, str]:
        """Copy a blob into a file from its start; return size, announced checksum ("": none) and its own."""
        file.seek(0)
        file.truncate()
        digest = hashlib.sha256()
        with self._open_blob(blob_id) as stream:
            for piece in stream:
                digest.update(piece)
                file.write(piece)
                on_bytes(file.tell())
        return file.tell(), _announced_checksum(stream), digest.hexdigest()

    def _known_checksum(self, blob_id: AnyId) -> str | None:
        """Ask for a blob's checksum; None for a lambda's id, which serves code but has no data entry."""
        try:
            return self.data(blob_id).checksum
        except NotFound:
            return None


def _announced_checksum(stream: Stream) -> str:
    """Return the SHA-256 that the reply carries as its ETag; "" when that is something else."""
    tag = stream.headers.get("etag", "").removeprefix("W/").strip('"').lower()
    return tag if len(tag) == SHA256_HEX_CHARS else ""


def _compare(blob_id: AnyId, expected: str, found: str) -> None:
    if expected != found:
        raise ChecksumMismatch(f"blob {blob_id}", expected, found)
