"""A file below a granted directory, open for a guest."""

import os

from piecework.worker_agent.runtimes.streams import Bytes
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError, translated
from piecework.worker_agent.runtimes.wasi.fs.files import (
    FileType,
    GuestFile,
    Rights,
    Stat,
    TimesNs,
    check_offset,
)
from piecework.worker_agent.runtimes.wasi.fs.quota import Share, key_of

_APPEND, _DSYNC, _RSYNC, _SYNC = 1, 2, 8, 16
"""Of ``fdflags`` in the witx files."""
_SYNC_FLAGS = {_DSYNC: os.O_DSYNC, _RSYNC: getattr(os, "O_RSYNC", os.O_SYNC), _SYNC: os.O_SYNC}


def find_sync_flags(flags: int) -> int:
    """Return the system's flags for those of a guest that wants its writes on the disk at once."""
    return sum({own for flag, own in _SYNC_FLAGS.items() if flags & flag})


class RegularFile(GuestFile):
    """A file, with a position of its own."""

    kind = FileType.REGULAR

    def __init__(self, descriptor: int, share: Share, flags: int, *, read: bool, write: bool) -> None:
        self._descriptor = descriptor
        self._share = share
        self._place = 0
        self.flags = flags
        self.rights = Rights.ALL
        if not read:
            self.rights &= ~(Rights.FD_READ | Rights.FD_READDIR)
        if not write:
            self.rights &= ~Rights.FD_WRITE
        self.inheriting = self.rights
        self._key = key_of(os.fstat(descriptor))
        share.note_open(self._key)

    def read_into(self, buffer: memoryview, offset: int | None = None) -> int:
        with translated():
            if offset is not None:
                return os.preadv(self._descriptor, [buffer], check_offset(offset))
            size = os.preadv(self._descriptor, [buffer], self._place)
        self._place += size
        return size

    def write(self, data: Bytes, offset: int | None = None) -> int:
        with translated():
            size = self._measure()
            appends = offset is None and self.flags & _APPEND
            start = size if appends else self._place if offset is None else check_offset(offset)
            end = check_offset(start + len(data))
            # A gap counts as if it were written.
            self._share.resize(self._key, size, max(size, end))
            try:
                done = os.pwrite(self._descriptor, data, start)
            except OSError:
                self._share.resize(self._key, max(size, end), size)
                raise
        if done < len(data):
            self._share.resize(self._key, max(size, end), max(size, start + done))
        if offset is None:
            self._place = start + done
        return done

    def seek(self, offset: int, whence: int) -> int:
        if whence == os.SEEK_SET:
            start = 0
        elif whence == os.SEEK_CUR:
            start = self._place
        elif whence == os.SEEK_END:
            start = self._measure()
        else:
            raise WasiError(Errno.INVAL)
        self._place = check_offset(start + offset)
        return self._place

    def _measure(self) -> int:
        """Return its size: sooner than ``fstat`` does. Its position in the system's eyes is used by nobody."""
        return os.lseek(self._descriptor, 0, os.SEEK_END)

    def resize(self, size: int) -> None:
        self.require(Rights.FD_WRITE)
        with translated():
            old = self._measure()
            self._share.resize(self._key, old, check_offset(size))
            try:
                os.ftruncate(self._descriptor, size)
            except OSError:
                self._share.resize(self._key, size, old)
                raise

    def grow(self, size: int) -> None:
        if check_offset(size) > self._measure():
            self.resize(size)

    def check_positions(self) -> None:
        """It has positions."""

    def set_flags(self, flags: int) -> None:
        if flags & (_DSYNC | _RSYNC | _SYNC):
            raise WasiError(Errno.INVAL)
        self.flags = flags

    def set_times(self, times: TimesNs) -> None:
        self._share.require_write()
        with translated():
            os.utime(self._descriptor, ns=times.over(os.fstat(self._descriptor)))

    def sync(self, *, data_only: bool) -> None:
        with translated():
            (os.fdatasync if data_only else os.fsync)(self._descriptor)

    def stat(self) -> Stat:
        return self._share.describe(os.fstat(self._descriptor))

    def close(self) -> None:
        if self._descriptor >= 0:
            found = os.fstat(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._share.note_closed(self._key, found.st_size)
