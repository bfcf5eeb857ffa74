"""The client's calls about receipts, the keys that they are checked with, and bundles."""

import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from piecework.client.calls import AnyId, path_id
from piecework.client.errors import ChecksumMismatch, NotFound
from piecework.client.modes import call, iteration
from piecework.client.queue.jobs.bundling import Places, find_places
from piecework.client.queue.jobs.results import ResultCalls
from piecework.client.transport import PreparedRequest
from piecework.protocol.ids import Id
from piecework.protocol.messages import (
    Content,
    Envelope,
    JobInfo,
    ReceiptReply,
    SigningKeyInfo,
    SigningKeyList,
    blob_id,
    given,
)
from piecework.receipts.bundle import write_bundle
from piecework.receipts.envelope import read_receipt
from piecework.receipts.errors import ReceiptError
from piecework.receipts.parts import ReceiptPart, list_files, list_parts

STANDARD_INPUT = "-"
"""The name under which a job gets what another produced as its input: that is in its receipt as the input."""


class ReceiptCalls(ResultCalls):
    """Receipts: signed statements that a result is what some code makes of some input."""

    @call
    async def receipt(self, job_id: AnyId) -> Envelope:
        """Return the receipt of a job; ``piecework.receipts`` checks and reads it.

        Raises NotFound, with the reason, when it has none.
        """
        request = PreparedRequest("GET", f"/job/{path_id(job_id)}/receipt", repeatable=True)
        reply = await self.carrier.call(request, ReceiptReply)
        return Envelope(payload_type=reply.payload_type, payload=reply.payload, signatures=reply.signatures)

    @iteration
    def signing_keys(self, keyid: str | None = None, limit: int | None = None) -> AsyncIterator[SigningKeyInfo]:
        """Go through the public keys of workers and servers, newest first; at most ``limit`` of them.

        ``keyid``: only those that signatures name so; most names mean one key of one owner.
        """
        return self._items("/keys", {"keyid": keyid}, SigningKeyList, "keys", limit)

    @call
    async def bundle(
        self,
        job_id: AnyId,
        path: Path,
        *,
        env: Mapping[str, str] | None = None,
        have: Mapping[str, Path] | None = None,
    ) -> Envelope:
        """Write a job's receipt, with everything that it names, into one file; return the receipt.

        ``env``: variables of the job whose values the server hides. ``have``: files with parts that need no
        download, by their digests. The file appears when it is complete and
        checked. Raises NotFound for a job without a receipt, ReceiptError when a part is gone, and OSError.
        """
        envelope = await self.receipt(job_id)
        payload = read_receipt(envelope)
        info = await self.job(job_id)
        places = find_places(payload, info, await self._find_inputs(info), env or {})
        keys = [key for each in envelope.signatures async for key in self.signing_keys(each.keyid)]
        with tempfile.TemporaryDirectory(prefix=".parts-", dir=path.parent) as room:
            folder = Path(room)
            named = list_parts(payload)
            here: dict[str, bytes | Path] = {**(have or {})}
            parts = {
                part.digest: here.get(part.digest) or await self._fetch_part(part, places, folder)
                for part in named
            }
            for part in list_files(payload, lambda digest, _most: _read(parts[digest])):
                parts[part.digest] = await self._fetch_part(part, places, folder)
            write_bundle(path, envelope, keys, parts)
        return envelope

    async def _fetch_part(self, part: ReceiptPart, places: Places, folder: Path) -> bytes | Path:
        place = places.get(part.digest)
        if place is None:
            raise ReceiptError(f"{part.what} is gone: the server has nothing with the digest {part.digest}")
        if isinstance(place, bytes):
            return place
        target = folder / part.digest
        if not target.exists():
            try:
                await self.download(place, target, checksum=part.digest)
            except NotFound as error:
                raise ReceiptError(f"{part.what} is gone: there is no data {place} any more") from error
            except ChecksumMismatch as error:
                raise ReceiptError(f"{part.what} is gone: data {place} has other bytes by now") from error
        return target

    async def _find_inputs(self, info: JobInfo) -> dict[str, tuple[Id, str]]:
        """Return the blobs with what a job got from others as files, and their digests, by the files' names."""
        found = {}
        for source in given(info.inputs) or ():
            if source.name == STANDARD_INPUT:
                continue
            try:
                output = (await self.job(source.job)).output
            except NotFound as error:
                raise ReceiptError(
                    f"its input {source.name!r} is gone: there is no job {source.job} any more"
                ) from error
            blob = blob_id(output) if isinstance(output, Content) else None
            found[source.name] = (Id(blob or 0), (await self.data(blob)).checksum if blob else "")
        return found


def _read(part: bytes | Path) -> bytes:
    return part if isinstance(part, bytes) else part.read_bytes()
