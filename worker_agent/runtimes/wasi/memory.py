"""The guest's linear memory, seen from the host, with every access checked."""

import struct
from collections.abc import Iterator
from ctypes import c_ubyte
from functools import lru_cache

from piecework.worker_agent.runtimes.linkage import GuestStore
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError

_U32 = 0xFFFF_FFFF
_U64 = 0xFFFF_FFFF_FFFF_FFFF
_VECTOR = struct.Struct("<II")
_U32_FORMAT = struct.Struct("<I")
_U64_FORMAT = struct.Struct("<Q")
CHUNK_BYTES = 1024 * 1024
"""The host copies at most this much at a time."""
MAX_VECTORS = 65_536
"""So many buffers of one read or write are used; the guest is told how far that went."""


class GuestMemory:
    """Reads and writes guest memory. Pointers and sizes are u32, and may come as signed integers.

    No memory ever moves or shrinks; that it grew is noticed when a place lies behind what was its end. Every
    method raises WasiError (FAULT) for a place outside of it.
    """

    def __init__(self, guest_store: GuestStore) -> None:
        self._guest_store = guest_store
        self._size = 0
        self._view = memoryview(b"")

    def read(self, pointer: int, size: int) -> bytes:
        """Return a copy of ``size`` bytes."""
        return bytes(self._cut_one(pointer, size))

    def write(self, pointer: int, data: bytes) -> None:
        """Copy bytes into the memory."""
        self._cut_one(pointer, len(data))[:] = data

    def write_u32(self, pointer: int, value: int) -> None:
        _U32_FORMAT.pack_into(self._cut_one(pointer, 4), 0, value & _U32)

    def write_u64(self, pointer: int, value: int) -> None:
        _U64_FORMAT.pack_into(self._cut_one(pointer, 8), 0, value & _U64)

    def cut(self, pointer: int, size: int) -> Iterator[memoryview]:
        """Cut a buffer into pieces that the host may copy at once; none when it is empty."""
        buffer = self._cut_one(pointer, size)
        for offset in range(0, len(buffer), CHUNK_BYTES):
            yield buffer[offset : offset + CHUNK_BYTES]

    def read_vectors(self, pointer: int, count: int) -> Iterator[memoryview]:
        """Return the buffers of a scattered read or write, cut into pieces."""
        count = min(count & _U32, MAX_VECTORS)
        vectors = self._cut_one(pointer, _VECTOR.size * count)
        for place, size in _VECTOR.iter_unpack(vectors) if count else ():
            if 0 < size <= CHUNK_BYTES:
                yield self._cut_one(place, size)
            else:
                yield from self.cut(place, size)

    def _cut_one(self, pointer: int, size: int) -> memoryview:
        pointer &= _U32
        end = pointer + (size & _U32)
        if end > self._size:
            self._see_all()
            if end > self._size:
                raise WasiError(Errno.FAULT)
        return self._view[pointer:end]

    def _see_all(self) -> None:
        """Find out how much memory there is now."""
        base, self._size = self._guest_store.locate_memory()
        self._view = _view(base, self._size)


@lru_cache(maxsize=16)
def _view(base: int, size: int) -> memoryview:
    """Return a view of memory. Guests that run one after the other are often given the same place."""
    return memoryview((c_ubyte * size).from_address(base)).cast("B")
