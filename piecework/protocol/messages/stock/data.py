"""Blobs: ``data`` on the wire."""

from typing import Annotated

from msgspec import UNSET, Meta

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply

DIRECT_LEAST_BYTES = 1 << 20
"""Smaller blobs go through the server: a request more would cost more than it saves."""


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


class DirectUpload(Message, kw_only=True):
    """A blob that an agent has and would put into S3 by itself."""

    checksum: str
    """SHA-256, 64 hex digits in lower case in lower case."""
    size: Annotated[int, Meta(ge=1)]
    """Bytes."""


class DirectReply(Reply, kw_only=True):
    """How an agent gets or stores the bytes of a blob without the server between."""

    allowed: bool
    """Whether this server lets agents do that at all."""
    id: Maybe[Id] = UNSET
    """The blob, once its bytes are there; only of uploads."""
    url: Maybe[str] = UNSET
    """Where to get the bytes with GET, or to put them with PUT, for a quarter of an hour. Whoever has it may, so
    it stands in no log. Without it and without ``id``: go through the server."""
    headers: list[str] = []
    """Lines that the head of the request must have, such as ``x-amz-checksum-sha256: …``."""
