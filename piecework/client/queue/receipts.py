"""The client's calls about receipts, and the keys that they are checked with."""

from collections.abc import AsyncIterator

from piecework.client.calls import AnyId, CallGroup, path_id
from piecework.client.modes import call, iteration
from piecework.client.transport import PreparedRequest
from piecework.protocol.messages import Envelope, ReceiptReply, SigningKeyInfo, SigningKeyList


class ReceiptCalls(CallGroup):
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
