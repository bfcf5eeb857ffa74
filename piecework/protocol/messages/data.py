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
    name: Maybe[str] = UNSET
    """What its file was called where it came from; only with ``?view=full``, and where that is known."""
    created_at: Maybe[float] = UNSET
    """When it was stored, seconds since 1970; only with ``?view=full``."""


class DataList(Reply, kw_only=True):
    """The answer of ``GET /data``: newest first."""

    data: list[DataReply]
    """The blobs, with all fields."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""
