"""Entries: the values in namespaces, each under its key."""

import math
from typing import NamedTuple

from msgspec import UNSET

from piecework.protocol.messages import ValueSet
from piecework.server.errors import BodyTooLarge, InvalidRequest, NotANumber, ValueDiffers, ValueNotFound
from piecework.server.services.core import Core
from piecework.server.services.stock.namespaces import not_found
from piecework.server.store.engine.database import Connection
from piecework.server.store.stock.namespaces import entries, namespaces
from piecework.server.store.stock.namespaces.namespace_records import Entry

EXPIRE_MAX_S = 100 * 366 * 24 * 3600
NUMBER_MAX = 2**63 - 1


class Change(NamedTuple):
    """What is to become of a value."""

    value: bytes = b""
    incr: int | None = None
    """Add this in place of setting a value."""
    append: bool = False
    expire_s: float | None = None
    """0 for never; None: as it is for what is appended or added to, else never."""
    if_value: bytes | None = None
    if_absent: bool = False
    wants_old: bool = False

    @property
    def depends(self) -> bool:
        """Whether what is there has a part in it."""
        builds = self.append or self.incr is not None
        return builds or self.wants_old or self.if_absent or self.if_value is not None


class Entries:
    """The values of this server. A change is one transaction, whatever it looks at and whoever else changes it."""

    def __init__(self, core: Core) -> None:
        self._database, self._clock = core.database, core.clock
        self._value_max_bytes = core.settings.value_max_bytes

    def get(self, namespace: int, key: str) -> Entry:
        """Return what is under a key. Raises NamespaceNotFound or ValueNotFound."""
        with self._database.read() as connection:
            is_known, found = entries.find_entry(connection, namespace, key.encode(), self._clock())
        if not is_known:
            raise not_found(namespace)
        if found is None:
            raise _nothing_at(namespace, key)
        return found

    def set(self, namespace: int, key: str, request: ValueSet) -> tuple[str, Entry]:
        """Change what is under a key. Returns the value from before or now, as was asked for, and the new entry.

        Raises NamespaceNotFound; InvalidRequest for what contradicts itself; BodyTooLarge when the value would be;
        ValueDiffers when it is not as wanted; NotANumber when there is nothing to add to.
        """
        change = read_change(request)
        old, new = self._database.write(lambda c: self._change(c, namespace, key.encode(), change))
        shown = (old.value if old else b"") if change.wants_old else new.value
        return shown.decode(), new

    def _change(
        self, connection: Connection, namespace: int, key: bytes, change: Change
    ) -> tuple[Entry | None, Entry]:
        epoch = namespaces.hold_namespace(connection, namespace)
        if epoch is None:
            raise not_found(namespace)
        now = self._clock()
        if not change.depends:
            new = self._make(change, None, now)
            entries.put_entry(connection, namespace, epoch, key, new)
            return None, new
        while True:
            kept = entries.lock_entry(connection, namespace, epoch, key)
            old = kept if kept and kept.is_there(now) else None
            new = self._make(change, old, now)
            if kept:
                entries.put_entry(connection, namespace, epoch, key, new)
                return old, new
            if entries.add_entry(connection, namespace, epoch, key, new):
                return None, new
            # Somebody added it since it was looked for: now it can be locked.

    def _make(self, change: Change, old: Entry | None, now: int) -> Entry:
        """Return what a change makes of what is there."""
        _check_conditions(change, old)
        if change.incr is not None:
            value = _add(old, change.incr)
        else:
            value = old.value + change.value if old and change.append else change.value
        if len(value) > self._value_max_bytes:
            raise BodyTooLarge(
                f"the value would have {len(value)} bytes, this server keeps {self._value_max_bytes} at most"
            )
        if change.expire_s is None:
            keeps_time = old is not None and (change.append or change.incr is not None)
            return Entry(value, old.expires_at if old and keeps_time else None, now)
        return Entry(value, now + math.ceil(change.expire_s * 1000) if change.expire_s else None, now)

    def delete(self, namespace: int, key: str, if_value: str | None) -> None:
        """Remove what is under a key. Raises NamespaceNotFound, ValueNotFound or ValueDiffers."""
        wanted = None if if_value is None else if_value.encode()

        def remove(connection: Connection) -> None:
            epoch = namespaces.hold_namespace(connection, namespace)
            if epoch is None:
                raise not_found(namespace)
            found = entries.lock_entry(connection, namespace, epoch, key.encode())
            if found is None or not found.is_there(self._clock()):
                raise _nothing_at(namespace, key)
            _check_conditions(Change(if_value=wanted), found)
            entries.delete_entry(connection, namespace, epoch, key.encode())

        self._database.write(remove)


def read_change(request: ValueSet) -> Change:
    """Return the change that a request asks for. Raises InvalidRequest."""
    incr = None if request.incr is UNSET else request.incr
    if (request.value is UNSET) == (incr is None) or (incr is not None and request.append):
        raise InvalidRequest("give `value`, with or without `append`, or else `incr`")
    if request.if_absent and isinstance(request.if_value, str):
        raise InvalidRequest("give `if_value` or `if_absent`, not both")
    expire_s = request.expire if isinstance(request.expire, float) else None
    if expire_s is not None and not 0 <= expire_s <= EXPIRE_MAX_S:
        raise InvalidRequest(f"expire is {expire_s:g}, but must lie between 0 and {EXPIRE_MAX_S} seconds")
    return Change(
        value=request.value.encode() if isinstance(request.value, str) else b"",
        incr=incr,
        append=bool(request.append),
        expire_s=expire_s,
        if_value=request.if_value.encode() if isinstance(request.if_value, str) else None,
        if_absent=bool(request.if_absent),
        wants_old=bool(request.get),
    )


def _check_conditions(change: Change, old: Entry | None) -> None:
    """Raise ValueDiffers unless what is there is as it should be."""
    if change.if_absent and old is not None:
        raise ValueDiffers("there is a value already; nothing was changed")
    if change.if_value is not None and (old is None or old.value != change.if_value):
        found = "another value is there" if old else "there is no value"
        raise ValueDiffers(f"{found}; nothing was changed")


def _add(old: Entry | None, number: int) -> bytes:
    """Return the sum of a number and what is there. Raises NotANumber."""
    text = old.value if old else b"0"
    if len(text) > len(str(NUMBER_MAX)) + 1 or not text.removeprefix(b"-").isdigit():
        raise NotANumber(f"the value is no whole number of {len(str(NUMBER_MAX))} digits at most")
    total = int(text) + number
    if abs(total) > NUMBER_MAX:
        raise NotANumber(f"the sum would lie beyond {NUMBER_MAX}; nothing was changed")
    return str(total).encode()


def _nothing_at(namespace: int, key: str) -> ValueNotFound:
    shown = key if len(key) <= 100 else f"{key[:100]}…"
    return ValueNotFound(f"namespace {namespace} has no value under {shown!r}")
