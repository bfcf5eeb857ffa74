"""What a guest can have open: streams, and what a directory has that was granted to it."""

import io
from collections.abc import Callable
from enum import IntEnum, IntFlag

from worker_agent.runtimes.base import InputStream
from worker_agent.runtimes.streams import Bytes
from worker_agent.runtimes.wasi.errno import Errno, WasiError


class FileType(IntEnum):
    """Of a file (``filetype`` in the witx files)."""

    UNKNOWN = 0
    """Neither a file nor a terminal: a libc then writes whole buffers, not lines."""
    DIRECTORY = 3
    REGULAR = 4
    LINK = 7


class Rights(IntFlag):
    """What a descriptor may be used for (``rights`` in the witx files)."""

    FD_READ = 1 << 1
    FDSTAT_SET_FLAGS = 1 << 3
    FD_WRITE = 1 << 6
    FILESTAT_GET = 1 << 21
    POLL = 1 << 27
    ALL = (1 << 28) - 1
    """Of files and directories; sockets have others."""


_ANY = Rights.FDSTAT_SET_FLAGS | Rights.FILESTAT_GET | Rights.POLL
Stat = tuple[int, int, int, int, int, int, int]
"""Inode, kind, links, size, times of access, modification and change in nanoseconds."""


class GuestFile:
    """Something open. Whatever one kind of file cannot do raises WasiError with the answer of a stream."""

    kind = FileType.UNKNOWN
    rights = Rights(0)
    inheriting = Rights(0)
    flags = 0

    def read_into(self, _buffer: memoryview, _offset: int | None = None) -> int:
        """Fill a buffer, here or at an offset; return how many bytes there were, fewer only at the end."""
        raise WasiError(Errno.BADF)

    def write(self, _data: Bytes, _offset: int | None = None) -> None:
        """Write all of it, here or at an offset."""
        raise WasiError(Errno.BADF)

    def seek(self, _offset: int, _whence: int) -> int:
        """Go somewhere else, and return where that is."""
        raise WasiError(Errno.SPIPE)

    def resize(self, _size: int) -> None:
        raise WasiError(Errno.INVAL)

    def check_positions(self) -> None:
        """Raise WasiError (SPIPE) unless it has positions."""
        raise WasiError(Errno.SPIPE)

    def grow(self, _size: int) -> None:
        """Make it at least so large."""
        raise WasiError(Errno.SPIPE)

    def stat(self) -> Stat | None:
        """Return what is known about it; None: nothing."""
        return None

    def available(self) -> int:
        """Return how many bytes can be read or written without waiting: any number counts."""
        return 65536

    def close(self) -> None:
        """Safe to repeat."""


class InputFile(GuestFile):
    """A stream that the guest reads."""

    rights = Rights.FD_READ | _ANY

    def __init__(self, stream: InputStream) -> None:
        self._stream = stream

    def read_into(self, buffer: memoryview, _offset: int | None = None) -> int:
        try:
            return self._stream.readinto(buffer) or 0
        except OSError as error:
            raise WasiError(Errno.IO) from error

    def available(self) -> int:
        position = self._stream.tell()
        end = self._stream.seek(0, io.SEEK_END)
        self._stream.seek(position)
        return end - position


class OutputFile(GuestFile):
    """A stream that the guest writes."""

    rights = Rights.FD_WRITE | _ANY

    def __init__(self, write: Callable[[Bytes], None]) -> None:
        self._write = write

    def write(self, data: Bytes, _offset: int | None = None) -> None:
        self._write(data)
