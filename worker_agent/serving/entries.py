"""Keys and values for functions without an agent: in memory, or of a server that is named."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from piecework.protocol.kv_grants import KvGrant
from piecework.protocol.messages import ValueSet, given
from piecework.worker_agent.errors import AgentError
from piecework.worker_agent.runtimes.services.entries import (
    KEYS_MAX,
    EntryAnswer,
    EntryFault,
    EntryRequest,
    GuestEntries,
)

VALUE_BYTES = 1024 * 1024
"""As servers have it unless their operators say otherwise."""
ALL_BYTES = 16 * 1024 * 1024
ENTRY_BYTES = 100
"""What an entry counts beside its bytes."""
NUMBER_MAX = 2**63 - 1


@dataclass(frozen=True)
class KvServer:
    """The server whose namespaces a function uses."""

    url: str
    token: str | None = field(default=None, repr=False)
    ca: Path | None = None


def open_entries(server: KvServer | None) -> GuestEntries:
    """Return a server's keys and values, or without one new ones. Raises AgentError for a bad URL or file."""
    if server is None:
        return MemoryEntries()
    from piecework.worker_agent.link.entries import open_server_entries  # noqa: PLC0415  # few use a server's

    try:
        return open_server_entries(server.url, server.token, server.ca)
    except ValueError as error:
        raise AgentError(str(error)) from error


def read_allowed(texts: Sequence[str]) -> tuple[list[str], bool]:
    """Return grants for ``NAME``, ``NAME:rw``, or grants as lambdas have them; and whether they are of a server.

    Names without ids are of namespaces here. Raises ValueError, saying what is wrong.
    """
    named = [text for text in texts if not KvGrant.is_one(text)]
    if named and len(named) < len(texts):
        raise ValueError(f"{named[0]!r} has no id, so it is kept here, and others are a server's: give one kind")
    found = []
    for number, text in enumerate(named, 1):
        name, colon, mode = text.partition(":")
        granted = f"{name}={number}{colon}{mode}"
        if not KvGrant.is_one(granted):
            raise ValueError(f"{text!r} is not NAME or NAME:rw, nor with an id ID, NAME=ID or NAME=ID:rw")
        found.append(granted)
    return found or list(texts), bool(texts) and not named


class _Entry(NamedTuple):
    value: str
    until: float = math.inf


class MemoryEntries:
    """Keys and values of the functions that one program runs. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[tuple[int, str], _Entry] = {}
        self._size = 0
        self._lock = threading.Lock()

    def perform(self, request: EntryRequest, _until: float, _is_wanted: Callable[[], bool]) -> EntryAnswer:
        """See ``GuestEntries``: it does what a server does."""
        place = request.namespace, request.key
        with self._lock:
            if request.act == "keys":
                return self._list(request)
            old = self._entries.get(place)
            if old is not None and old.until <= self._clock():
                self._put(place, None)
                old = None
            if request.act == "set":
                return self._set(place, old, request.change or ValueSet())
            if old is None:
                return EntryAnswer.fail(EntryFault.NO_VALUE, f"there is no value under {request.key!r}")
            if request.act == "get":
                return EntryAnswer(old.value.encode())
            if request.if_value is not None and old.value != request.if_value:
                return EntryAnswer.fail(EntryFault.DIFFERS, "another value is there; nothing was changed")
            self._put(place, None)
            return EntryAnswer()

    def _list(self, request: EntryRequest) -> EntryAnswer:
        now, after = self._clock(), request.after.encode()
        keys = sorted(
            key.encode()
            for (namespace, key), entry in self._entries.items()
            if namespace == request.namespace and key.startswith(request.key) and entry.until > now
        )
        return EntryAnswer(b"".join(key + b"\0" for key in [key for key in keys if key > after][:KEYS_MAX]))

    def _set(self, place: tuple[int, str], old: _Entry | None, change: ValueSet) -> EntryAnswer:
        wanted, amount = given(change.if_value), given(change.incr)
        if (change.if_absent is True and old) or (wanted is not None and (old is None or old.value != wanted)):
            return EntryAnswer.fail(EntryFault.DIFFERS, "another value is there, or none; nothing was changed")
        value = given(change.value) or ""
        if amount is not None:
            total = _add(old, amount)
            if total is None:
                return EntryAnswer.fail(EntryFault.NO_NUMBER, "no whole number is there, or the sum is too large")
            value = str(total)
        elif change.append is True and old:
            value = old.value + value
        if len(value.encode()) > VALUE_BYTES:
            return EntryAnswer.fail(EntryFault.TOO_LARGE, f"the value would have more than {VALUE_BYTES} bytes")
        new = _Entry(value)
        expire_s = given(change.expire)
        if expire_s:
            new = new._replace(until=self._clock() + expire_s)
        elif expire_s is None and old and (change.append is True or amount is not None):
            new = new._replace(until=old.until)
        if not self._put(place, new):
            return EntryAnswer.fail(EntryFault.TOO_LARGE, f"keys and values here have {ALL_BYTES} bytes at most")
        return EntryAnswer(((old.value if old else "") if change.get is True else value).encode())

    def _put(self, place: tuple[int, str], new: _Entry | None) -> bool:
        """Keep an entry, or none; returns False, and changes nothing, when there is no room."""
        size = self._size - _weigh(place, self._entries.get(place)) + _weigh(place, new)
        if new is None:
            self._entries.pop(place, None)
        elif size > ALL_BYTES:
            return False
        else:
            self._entries[place] = new
        self._size = size
        return True


def _weigh(place: tuple[int, str], entry: _Entry | None) -> int:
    return 0 if entry is None else ENTRY_BYTES + len(place[1].encode()) + len(entry.value.encode())


def _add(old: _Entry | None, amount: int) -> int | None:
    """Return the sum of a number and what is there; None when that is none, or too large."""
    text = old.value if old else "0"
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(text) > len(str(NUMBER_MAX)) + 1:
        return None
    total = int(text) + amount
    return total if abs(total) <= NUMBER_MAX else None
