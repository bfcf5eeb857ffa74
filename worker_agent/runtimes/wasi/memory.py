"""The guest's linear memory, seen from the host, with every access checked."""

import struct
from collections.abc import Iterator
from ctypes import memmove, string_at

from worker_agent.runtimes.linkage import Vessel
from worker_agent.runtimes.wasi.errno import Errno, WasiError

_U32 = 0xFFFF_FFFF
_VECTOR = struct.Struct("<II")
_U32_FORMAT = struct.Struct("<I")
CHUNK_BYTES = 1024 * 1024
"""The host copies at most this much at a time."""
MAX_VECTORS = 1024
"""Buffers in one read or write, as IOV_MAX is on Linux."""


class GuestMemory:
    """Reads and writes guest memory. Pointers and sizes are u32, and may come as signed integers.

    Valid within one call to the host: ``refresh`` begins each, for the guest may have grown the memory, and that
    may have moved it. Every method raises WasiError (FAULT) for a place outside of it.
    """

    def __init__(self, vessel: Vessel) -> None:
        self._vessel = vessel
        self._base = 0
        self._size = 0

    def refresh(self) -> None:
        """Find out where the memory is now."""
        self._base, self._size = self._vessel.locate_memory()

    def read(self, pointer: int, size: int) -> bytes:
        """Return a copy of ``size`` bytes."""
        return string_at(self._locate(pointer, size & _U32), size & _U32)

    def write(self, pointer: int, data: bytes) -> None:
        """Copy bytes into the memory."""
        memmove(self._locate(pointer, len(data)), data, len(data))

    def write_u32(self, pointer: int, value: int) -> None:
        memmove(self._locate(pointer, 4), _U32_FORMAT.pack(value), 4)

    def write_u64(self, pointer: int, value: int) -> None:
        self.write(pointer, struct.pack("<Q", value & 0xFFFF_FFFF_FFFF_FFFF))

    def cut(self, pointer: int, size: int) -> list[tuple[int, int]]:
        """Cut a buffer into pieces that the host may copy at once: addresses in the host, and sizes."""
        size &= _U32
        at = self._locate(pointer, size)
        if 0 < size <= CHUNK_BYTES:
            return [(at, size)]
        return [(at + offset, min(CHUNK_BYTES, size - offset)) for offset in range(0, size, CHUNK_BYTES)]

    def read_vectors(self, pointer: int, count: int) -> Iterator[tuple[int, int]]:
        """Return the buffers of a scattered read or write, cut into pieces. Raises WasiError (INVAL)."""
        if not 0 <= count <= MAX_VECTORS:
            raise WasiError(Errno.INVAL)
        for buffer in _VECTOR.iter_unpack(self.read(pointer, _VECTOR.size * count)):
            # Not all at once: a few buffers may name the whole memory a thousand times.
            yield from self.cut(*buffer)

    def _locate(self, pointer: int, size: int) -> int:
        pointer &= _U32
        if pointer + size > self._size:
            raise WasiError(Errno.FAULT)
        return self._base + pointer
