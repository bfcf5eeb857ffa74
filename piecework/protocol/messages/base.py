"""What all messages share."""

from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from piecework.protocol.codes import Code

T = TypeVar("T")

Maybe: TypeAlias = T | UnsetType
"""A field that is left out of the message unless it has a value."""


class Message(msgspec.Struct, kw_only=True):
    """A body that someone sends. Unknown fields are ignored: old clients send many."""


class Reply(msgspec.Struct, kw_only=True):
    """An answer of the server. Every JSON answer has these two fields."""

    code: int = Code.OK.value
    """0, or a number of ``piecework.protocol.codes.Code``."""
    status: str = "ok"
    """``ok`` or ``error``."""


class MessageReply(Reply, kw_only=True):
    """An answer that only says what happened."""

    message: str
    """For people."""


class ErrorReply(Reply, kw_only=True):
    """What every refused request gets, beside a fitting HTTP status."""

    message: str
    """What is wrong, for people."""
    status: str = "error"


class CapsuleReply(msgspec.Struct, kw_only=True):
    """An answer on the paths of Capsule's services, also to a request that is refused."""

    code: str
    """A word, such as ``OK``."""
    message: str
    """For people."""


class VersionReply(Reply, kw_only=True):
    """The answer of ``GET /sys/version``."""

    version: str
    """The server's version."""


class RuntimeStats(msgspec.Struct, kw_only=True):
    """How many workers offer a runtime and how many jobs ask for it."""

    workers: int
    """Workers seen lately that can run it."""
    enqueued: int
    """Jobs that can be contracted now."""
    running: int
    """Jobs under a lease."""


class RuntimeStatsReply(Reply, kw_only=True):
    """The answer of ``GET /sys/runt/stat``."""

    runtimes: dict[str, RuntimeStats]
    """By runtime name."""


def first_set(*values: Any) -> Any:
    """Return the first value that is neither unset nor None; None when there is none.

    Clients of several generations send the same field under several names.
    """
    for value in values:
        if value is not UNSET and value is not None:
            return value
    return None
