"""The client's calls about blobs: upload, look, download, delete."""

from collections.abc import AsyncIterator
from pathlib import Path

from piecework.client.calls import AnyId, CallGroup, path_id
from piecework.client.downloads import Download, OnBytes
from piecework.client.errors import ChecksumMismatch, NotFound
from piecework.client.modes import call, iteration
from piecework.client.replies import HttpReply, read_message
from piecework.client.transport import PreparedRequest
from piecework.client.uploads import MultipartFile, Source
from piecework.protocol.messages import DataList, DataReply, DirectReply, DirectUpload


class BlobCalls(CallGroup):
    """Blobs: immutable bytes, known by their SHA-256."""

    @call
    async def upload(self, source: Source, name: str = "") -> DataReply:
        """Store bytes, a file, or what an open binary file still holds; return its id and checksum.

        ``name``: what its file is called, for people who look at jobs that have it as their input.
        Streams: a large file is never in memory as a whole. Safe to repeat: the server knows blobs by their
        content. Raises ChecksumMismatch when the server stored other bytes than were sent.
        """
        request = PreparedRequest("POST", "/data", repeatable=True)
        with MultipartFile(source, name) as body:

            async def send() -> HttpReply:
                return await self.carrier.send_stream(request, body, body.content_type)

            reply = read_message(await self.carrier.repeat(send), DataReply)
            if reply.checksum != body.checksum:
                raise ChecksumMismatch("the upload", expected=body.checksum, found=reply.checksum)
        return reply

    @call
    async def data(self, blob_id: AnyId) -> DataReply:
        """Return a blob's checksum and size. Raises NotFound."""
        request = PreparedRequest("GET", f"/data/{path_id(blob_id)}", {"view": "full"}, repeatable=True)
        return await self.carrier.call(request, DataReply)

    @iteration
    def list_data(self, limit: int | None = None) -> AsyncIterator[DataReply]:
        """Go through the blobs, newest first; at most ``limit`` of them."""
        return self._items("/data", {}, DataList, "data", limit)

    @call
    async def read(self, blob_id: AnyId) -> bytes:
        """Return a blob's bytes, checked; for blobs that fit into memory. Raises NotFound."""
        return await self._blob_download(blob_id).read()

    @iteration
    def stream(self, blob_id: AnyId) -> AsyncIterator[bytes]:
        """Go through a blob's bytes piece by piece, checked at the end; not repeated when it breaks off.

        Raises NotFound, and ChecksumMismatch after the last piece.
        """
        return self._blob_download(blob_id).stream()

    @call
    async def download(
        self, blob_id: AnyId, path: Path, *, checksum: str | None = None, on_bytes: OnBytes = lambda _: None
    ) -> int:
        """Write a blob to a file and return its size in bytes; tell ``on_bytes`` how many have come so far.

        The file appears under its name only when it is complete and its SHA-256 was checked: against
        ``checksum`` when given, else against what the server says. A device or named pipe at ``path`` is
        written to as it is. Raises NotFound or ChecksumMismatch.
        """
        return await self._blob_download(blob_id).save(path, checksum, on_bytes)

    @call
    async def find_direct(self, blob_id: AnyId) -> DirectReply:
        """Return where in S3 an agent gets a blob's bytes by itself. Raises NotFound."""
        request = PreparedRequest("GET", f"/data/{path_id(blob_id)}/direct", repeatable=True)
        return await self.carrier.call(request, DirectReply)

    @call
    async def upload_direct(self, checksum: str, size: int) -> DirectReply:
        """Return where in S3 an agent puts a blob by itself; asked again once it is there, the blob's id."""
        request = PreparedRequest("POST", "/data/direct", body=DirectUpload(checksum=checksum, size=size))
        return await self.carrier.call(request, DirectReply)

    @call
    async def delete_data(self, blob_id: AnyId) -> str:
        """Delete a blob and return what the server says.

        Raises Conflict while a lambda, module, unfinished job or schedule uses it, and NotFound.
        """
        return await self._steer(PreparedRequest("DELETE", f"/data/{path_id(blob_id)}", repeatable=True))

    def _blob_download(self, blob_id: AnyId) -> Download:
        request = PreparedRequest("GET", f"/data/{path_id(blob_id)}/blob")
        return Download(self.carrier, request, f"blob {blob_id}", lambda: self._known_checksum(blob_id))

    async def _known_checksum(self, blob_id: AnyId) -> str | None:
        """Ask for a blob's checksum; None for a lambda's id, which serves code but has no data entry."""
        try:
            return (await self.data(blob_id)).checksum
        except NotFound:
            return None
