"""What all messages share."""

from collections.abc import Iterator
from typing import Any, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from piecework.protocol.codes import Code
from piecework.protocol.ids import Id
from piecework.protocol.secrets import MASK

T = TypeVar("T")

Maybe: TypeAlias = T | UnsetType
"""A field that is left out of the message unless it has a value."""


SHOWN_CHARS = 100
"""A longer value is cut where a message is shown."""
_SECRET = frozenset({"token", "lease", "secret"})


class Shown:
    """Shows a message by the fields that are set, and without what is secret or long."""

    __slots__ = ()

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={_show(name, value)}" for name, value in _set_fields(self))
        return f"{type(self).__name__}({shown})"


def _set_fields(message: Any) -> Iterator[tuple[str, object]]:
    for each in msgspec.structs.fields(message):
        value = getattr(message, each.name)
        default = each.default if each.default_factory is msgspec.NODEFAULT else each.default_factory()
        if value is not UNSET and value != default:
            yield each.name, value


def _show(name: str, value: object) -> str:
    if name in _SECRET:
        return repr(MASK)
    if name == "env" and isinstance(value, dict):
        return repr(dict.fromkeys(value, MASK))
    if isinstance(value, str | bytes):
        return show_shortly(str(value) if isinstance(value, str) else value)
    return repr(value)


def show_shortly(value: str | bytes) -> str:
    """Return a value as Python writes it; of a long one the beginning, and its length."""
    if len(value) <= SHOWN_CHARS:
        return repr(value)
    return f"{value[:SHOWN_CHARS]!r}… ({len(value)} {'characters' if isinstance(value, str) else 'bytes'})"


class Message(Shown, msgspec.Struct, kw_only=True):
    """A body that someone sends. Unknown fields are ignored: old clients send many."""


class Reply(Shown, msgspec.Struct, kw_only=True):
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


class CapsuleReply(Shown, msgspec.Struct, kw_only=True):
    """An answer on the paths of Capsule's services, also to a request that is refused."""

    code: str
    """A word, such as ``OK``."""
    message: str
    """For people."""


class VersionReply(Reply, kw_only=True):
    """The answer of ``GET /sys/version``."""

    version: str
    """The server's version."""


class RuntimeStats(Shown, msgspec.Struct, kw_only=True):
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


class IdList(Reply, kw_only=True):
    """The answer of ``GET /ids``: newest first, no more than a few."""

    ids: list[Id]
    """Those that end so."""


def given(value: T | UnsetType | None) -> T | None:
    """Return what a field has; None when it was left out, too."""
    return None if isinstance(value, UnsetType) else value
