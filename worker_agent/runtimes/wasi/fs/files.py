"""What a guest can have open: streams, and what a directory has that was granted to it."""

import array
import contextlib
import fcntl
import io
import os
import stat
import termios
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from piecework.worker_agent.runtimes.base import InputStream
from piecework.worker_agent.runtimes.live import LiveInput
from piecework.worker_agent.runtimes.streams import Bytes
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError


class FileType(IntEnum):
    """Of a file (``filetype`` in the witx files)."""

    UNKNOWN = 0
    """Neither a file nor a terminal: a libc then writes whole buffers, not lines."""
    CHARACTER_DEVICE = 2
    """A terminal: a libc writes lines as they end, and a question before it waits for the answer."""
    DIRECTORY = 3
    REGULAR = 4
    LINK = 7


OFFSET_MAX = 2**63 - 1
_U64_MAX = 2**64 - 1
_KINDS = {
    stat.S_IFDIR: FileType.DIRECTORY,
    stat.S_IFREG: FileType.REGULAR,
    stat.S_IFLNK: FileType.LINK,
    stat.S_IFCHR: FileType.CHARACTER_DEVICE,
}


class Rights:
    """What a descriptor may be used for (``rights`` in the witx files). Bits of plain numbers: each call asks."""

    NONE = 0

    FD_READ = 1 << 1
    FD_SEEK = 1 << 2
    FDSTAT_SET_FLAGS = 1 << 3
    FD_WRITE = 1 << 6
    FD_READDIR = 1 << 14
    PATH_FILESTAT_SET_SIZE = 1 << 19
    FILESTAT_GET = 1 << 21
    FILESTAT_SET_SIZE = 1 << 22
    POLL = 1 << 27
    ALL = (1 << 28) - 1
    """Of files and directories; sockets have others."""
    GRANTED = 0x7B7FE00
    """Of a granted directory: all that one does to paths and directories; libraries look at it."""
    BELOW = ALL & ~PATH_FILESTAT_SET_SIZE
    """Of what is opened in there."""


_ANY = Rights.FDSTAT_SET_FLAGS | Rights.FILESTAT_GET | Rights.POLL
Stat = tuple[int, int, int, int, int, int, int]
"""Inode, kind, links, size, times of access, modification and change in nanoseconds since 1970."""


class TimesNs(NamedTuple):
    """New times of a file, nanoseconds since 1970; None: it stays."""

    access: int | None
    modification: int | None

    def over(self, found: os.stat_result) -> tuple[int, int]:
        """Return both times, completed by those that a file has."""
        access, modification = self
        return (
            found.st_atime_ns if access is None else access,
            found.st_mtime_ns if modification is None else modification,
        )


class OpenMode(NamedTuple):
    """How a path is to be opened."""

    read: bool
    write: bool
    create: bool
    exclusive: bool
    truncate: bool
    directory: bool
    follow: bool
    flags: int

    @property
    def changes(self) -> bool:
        """It may change something."""
        return self.write or self.create or self.truncate


class DirectoryEntry(NamedTuple):
    """Of a directory."""

    name: bytes
    inode: int
    kind: int


class GuestFile:
    """Something open. Whatever one kind of file cannot do raises WasiError with the answer of a stream."""

    kind = FileType.UNKNOWN
    granted_as: bytes | None = None
    """The path under which the guest finds a directory that it did not open itself."""
    rights = Rights.NONE
    inheriting = Rights.NONE
    flags = 0

    def require(self, rights: int) -> None:
        """Raise WasiError (BADF) unless it was opened for this."""
        if rights & ~self.rights:
            raise WasiError(Errno.BADF)

    def read_into(self, _buffer: memoryview, _offset: int | None = None) -> int:
        """Fill a buffer, here or at an offset; return how many bytes there were, fewer only at the end."""
        raise WasiError(Errno.BADF)

    def write(self, _data: Bytes, _offset: int | None = None) -> int:
        """Write, here or at an offset; return how many bytes, fewer only where the disk is full."""
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

    def set_flags(self, flags: int) -> None:
        """Note the ``fdflags``. Only appending to a file makes a difference: nothing here blocks."""
        self.flags = flags

    def set_times(self, _times: TimesNs) -> None:
        raise WasiError(Errno.NOTSUP)

    def sync(self, *, data_only: bool) -> None:
        """Have the disk keep what was written."""

    def stat(self) -> Stat | None:
        """Return what is known about it; None: nothing."""
        return None

    def available(self) -> int:
        """Return how many bytes can be read or written without waiting: any number counts."""
        return 65536

    def find_descriptor(self) -> int | None:
        """Return what to wait for before it is read; None: a read never waits."""
        return None

    def has_more(self) -> bool:
        """Tell whether a further read would not wait."""
        return True

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

    def find_descriptor(self) -> int | None:
        return self._stream.fileno() if isinstance(self._stream, LiveInput) else None

    def has_more(self) -> bool:
        return not isinstance(self._stream, LiveInput) or self._stream.is_ready()

    def available(self) -> int:
        if isinstance(self._stream, LiveInput):
            waiting = array.array("i", [0])
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._stream.fileno(), termios.FIONREAD, waiting)
            return waiting[0]
        position = self._stream.tell()
        end = self._stream.seek(0, io.SEEK_END)
        self._stream.seek(position)
        return end - position


class OutputFile(GuestFile):
    """A stream that the guest writes."""

    rights = Rights.FD_WRITE | _ANY

    def __init__(self, write: Callable[[Bytes], None]) -> None:
        self._write = write

    def write(self, data: Bytes, _offset: int | None = None) -> int:
        self._write(data)
        return len(data)


def check_offset(offset: int) -> int:
    """Return it. Raises WasiError (INVAL) for one where no file has a byte."""
    if not 0 <= offset <= OFFSET_MAX:
        raise WasiError(Errno.INVAL)
    return offset


def kind_of(mode: int) -> FileType:
    """Return the kind of file that a mode of the system tells."""
    return _KINDS.get(stat.S_IFMT(mode), FileType.UNKNOWN)


def read_stat(found: os.stat_result) -> Stat:
    """Return what the system tells. Times that preview 1 cannot have are its first, or its last."""
    times = (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)
    access, modification, change = (min(max(0, time), _U64_MAX) for time in times)
    kind = kind_of(found.st_mode)
    return found.st_ino, kind, found.st_nlink, found.st_size, access, modification, change
