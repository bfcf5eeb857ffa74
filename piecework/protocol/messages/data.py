"""Blobs: ``data`` on the wire."""

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Reply


class DataReply(Reply, kw_only=True):
    """The answer of ``POST /data`` and ``GET /data/{id}``."""

    id: Id
    """The blob."""
    checksum: str
    """SHA-256, hex."""
    size: Maybe[int] = UNSET
    """Bytes; only with ``?view=full``."""
