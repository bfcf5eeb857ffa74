"""Whether the disk of a directory has room, as far as that can be told without filling it."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from piecework.server.errors import StorageFull
from piecework.server.logs import Condition

LEAST_BYTES = 1 << 20
"""With less than this, a disk is as good as full."""
LACKED_MAX_BYTES = 64 << 20
"""A disk with so much room is not full, whatever somebody wanted to store on it."""
LACKED_S = 30.0
"""How long it counts that something found no room."""


class DiskSpace:
    """Knows how much room was lacking lately: a disk with 3 MB is full for who stores 5 MB again and again."""

    def __init__(self, directory: Path, what: str, monotonic: Callable[[], float]) -> None:
        """``what`` says to people what is stored there."""
        self._directory, self._what = directory, what
        self._monotonic = monotonic
        self._lacked_bytes, self._lacked_at = 0, -LACKED_S
        self._full = Condition(f"the disk of {what} is full", f"{what} can be stored again")

    @contextmanager
    def full_reported(self, size_bytes: int) -> Iterator[None]:
        """Raise StorageFull when the block finds the disk full, and remember that it had no room for so much."""
        try:
            yield
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            full = StorageFull("the disk is full; nothing of this request was stored")
            self._lacked_bytes, self._lacked_at = size_bytes, self._monotonic()
            self._full.begin(full)
            raise full from error

    def note_stored(self) -> None:
        """Something found room."""
        self._full.end()

    def check(self) -> None:
        """Return when there is room. Raises StorageFull."""
        try:
            disk = os.statvfs(self._directory)
        except OSError as error:
            raise StorageFull(f"the disk of {self._what} cannot be looked at: {error.strerror}") from error
        free_bytes = disk.f_bavail * disk.f_frsize
        is_recent = self._monotonic() - self._lacked_at < LACKED_S
        wanted_bytes = min(self._lacked_bytes, LACKED_MAX_BYTES) if is_recent else 0
        if free_bytes < max(LEAST_BYTES, wanted_bytes):
            raise StorageFull(f"the disk of {self._what} is full: {free_bytes} bytes are free")
