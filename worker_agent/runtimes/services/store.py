"""Keys and values in memory, for the functions of one call, or of all that one program serves."""

import fnmatch
import threading
from typing import Protocol

from piecework.worker_agent.runtimes.services.errors import ServiceError

STORE_BYTES = 16 * 1024 * 1024
"""Keys and values together; a store lies outside of the guest's memory limit."""
PATTERN_BYTES = 1000
ENTRY_BYTES = 100
"""What an entry counts beside its bytes."""


class Store(Protocol):
    """Keys and values, wherever they are. The methods are those of ``MemoryStore``."""

    def set(self, key: bytes, value: bytes) -> None: ...
    def get(self, key: bytes) -> bytes | None: ...
    def delete(self, key: bytes) -> None: ...
    def set_default(self, key: bytes, value: bytes) -> None: ...
    def find_keys(self, pattern: bytes) -> list[bytes]: ...


class MemoryStore:
    """A bounded dictionary that threads may share."""

    def __init__(self) -> None:
        self._entries: dict[bytes, bytes] = {}
        self._size = 0
        self._lock = threading.Lock()

    def set(self, key: bytes, value: bytes) -> None:
        """Keep a value. Raises ServiceError when the store is full."""
        with self._lock:
            size = self._size - self._weigh(key) + ENTRY_BYTES + len(key) + len(value)
            if size > STORE_BYTES:
                raise ServiceError(f"the memory store is full: it takes {STORE_BYTES} bytes")
            self._entries[key] = value
            self._size = size

    def get(self, key: bytes) -> bytes | None:
        """Return a value; None when there is none."""
        return self._entries.get(key)

    def delete(self, key: bytes) -> None:
        """Forget a value. Safe to repeat."""
        with self._lock:
            self._size -= self._weigh(key)
            self._entries.pop(key, None)

    def set_default(self, key: bytes, value: bytes) -> None:
        """Keep a value unless there is one."""
        if key not in self._entries:
            self.set(key, value)

    def find_keys(self, pattern: bytes) -> list[bytes]:
        """Return the keys that fit a pattern of a shell, sorted. Raises ServiceError for one that is too long."""
        if len(pattern) > PATTERN_BYTES:
            raise ServiceError(f"the pattern is longer than {PATTERN_BYTES} bytes")
        with self._lock:
            keys = sorted(self._entries)
        return [key for key in keys if pattern == b"*" or fnmatch.fnmatchcase(key, pattern)]

    def _weigh(self, key: bytes) -> int:
        return ENTRY_BYTES + len(key) + len(self._entries[key]) if key in self._entries else 0
