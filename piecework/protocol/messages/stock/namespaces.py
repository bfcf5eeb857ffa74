"""Namespaces: keys and values, ``kv`` on the wire."""

from msgspec import UNSET

from piecework.protocol.ids import Id
from piecework.protocol.messages.base import Maybe, Message, Reply


class NamespaceCreate(Message, kw_only=True):
    """The body of ``POST /kv``."""

    consistency: Maybe[str | None] = UNSET
    """``none`` or ``eventual``: what its users can do with; ``none`` when left out. It changes nothing:
    here everybody sees each change once it is answered, which is more than either."""


class NamespaceCreated(Reply, kw_only=True):
    """The answer of ``POST /kv`` and ``GET /kv``."""

    id: Id
    """The new namespace."""


class NamespaceInfo(Reply, kw_only=True):
    """The answer of ``GET /kv/{id}``."""

    id: Id
    """The namespace."""
    consistency: Maybe[str] = UNSET
    """``none`` or ``eventual``; this and what follows only with ``?view=full``, and in lists."""
    entries: Maybe[int] = UNSET
    """How many keys have a value."""
    size: Maybe[int] = UNSET
    """Bytes of these keys and values."""
    created_at: Maybe[float] = UNSET
    """Seconds since 1970."""


class NamespaceList(Reply, kw_only=True):
    """The answer of ``GET /kv/namespaces``: newest first."""

    namespaces: list[NamespaceInfo]
    """The namespaces."""
    next: Maybe[str] = UNSET
    """The cursor of the next page; absent on the last."""


class KeyList(Reply, kw_only=True):
    """The answer of ``GET /kv/{id}/field``: in the order of their UTF-8 bytes."""

    keys: list[str]
    """The keys that have a value."""
    next: Maybe[str] = UNSET
    """The cursor of the next page, only where ``limit`` or ``cursor`` was given; absent on the last."""


class ValueSet(Message, kw_only=True):
    """The body of ``POST /kv/{id}/field/{key}``. What it asks for is done as a whole, or not at all."""

    value: Maybe[str] = UNSET
    """The new value, or with ``append`` its new end."""
    expire: Maybe[float | None] = UNSET
    """Seconds until the entry is gone, 0 for never. When left out: never, but what is changed by ``append`` or
    ``incr`` keeps its time."""
    append: Maybe[bool | None] = UNSET
    """Whether the value is put behind the one that is there."""
    get: Maybe[bool | None] = UNSET
    """Whether the answer has the value from before the change, "" if there was none."""
    incr: Maybe[int] = UNSET
    """In place of ``value``: add this to the number that is there. No value counts as 0."""
    if_value: Maybe[str] = UNSET
    """Do it only if this is the value that is there."""
    if_absent: Maybe[bool] = UNSET
    """Do it only if there is no value."""


class ValueDelete(Message, kw_only=True):
    """The body of ``DELETE /kv/{id}/field/{key}``, which may be left out."""

    if_value: Maybe[str] = UNSET
    """Do it only if this is the value that is there."""


class ValueReply(Reply, kw_only=True):
    """The answer of ``GET`` and ``POST /kv/{id}/field/{key}``."""

    value: str
    """The value that is there now or, when ``get`` asked for it, the one from before."""
    changed_at: Maybe[float] = UNSET
    """When it was set, seconds since 1970; only with ``?view=full``."""
    expires_at: Maybe[float] = UNSET
    """When it is gone, seconds since 1970; only with ``?view=full``, and for a value that goes."""
