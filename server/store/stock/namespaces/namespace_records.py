"""What the store gives back of namespaces: frozen records. Times are milliseconds since 1970."""

from typing import NamedTuple


class Namespace(NamedTuple):
    """A set of keys that have values."""

    id: int
    consistency: str
    """``none`` or ``eventual``: what was asked for."""
    epoch: int
    """How often it was flushed: entries of other epochs are not there."""
    created_at: int


class Unswept(NamedTuple):
    """A namespace that may have entries which nobody can see."""

    id: int
    epoch: int
    """Entries of older ones are not to be seen."""
    is_removed: bool
    """Nor are any others."""


class Entry(NamedTuple):
    """A value under a key of a namespace."""

    value: bytes
    expires_at: int | None
    """When it is gone; None: never."""
    changed_at: int

    def is_there(self, now: int) -> bool:
        return self.expires_at is None or self.expires_at > now
