"""A word of memory that the agent shares with a guest process: which task it works on.

Reports of finished tasks travel together, so the agent hears of an end a little late. When the process dies, the
marker still tells whose task did that.
"""

import mmap
import struct

_KEY = struct.Struct("=Q")
MARKER_BYTES = _KEY.size


class Marker:
    """Holds the key of one task; 0: none so far. One process writes, the other reads."""

    def __init__(self, file: int = -1) -> None:
        """Map the file with this descriptor, of ``MARKER_BYTES``; -1: memory that nobody else sees."""
        self._memory = mmap.mmap(file, MARKER_BYTES)

    def set(self, key: int) -> None:
        _KEY.pack_into(self._memory, 0, key)

    def get(self) -> int:
        (key,) = _KEY.unpack_from(self._memory)
        return int(key)
