"""The error numbers of WASI preview 1 that this host answers with (``errno`` in its witx files)."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class Errno(IntEnum):
    """What a call answers; 0 is success."""

    SUCCESS = 0
    ACCES = 2
    """It is neither a file nor a directory."""
    BADF = 8
    """No such file descriptor is open, or not for this."""
    BUSY = 10
    DQUOT = 19
    """The guest wrote as much as it may."""
    EXIST = 20
    FAULT = 21
    """A pointer leads outside the guest's memory."""
    FBIG = 22
    ILSEQ = 25
    INVAL = 28
    IO = 29
    """The input could not be read."""
    ISDIR = 31
    LOOP = 32
    """It is a link that was not to be followed, or one of too many."""
    MFILE = 33
    """Too many files are open."""
    MLINK = 34
    NAMETOOLONG = 37
    NOENT = 44
    NOMEM = 48
    NOSPC = 51
    NOSYS = 52
    NOTDIR = 54
    """A path was looked up in something that is no directory."""
    NOTEMPTY = 55
    NOTSOCK = 57
    NOTSUP = 58
    NXIO = 60
    OVERFLOW = 61
    PERM = 63
    """The directory can only be read, or the path leads out of it."""
    ROFS = 69
    """The folder of an interpreter, which nothing changes."""
    SPIPE = 70
    """A stream has no position."""
    TXTBSY = 74
    XDEV = 75


class WasiError(Exception):
    """Ends a call of the guest with an error number."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


_OF_THE_SYSTEM = {
    errno.EACCES: Errno.ACCES,
    errno.EBADF: Errno.BADF,
    errno.EBUSY: Errno.BUSY,
    errno.EDQUOT: Errno.NOSPC,
    errno.EEXIST: Errno.EXIST,
    errno.EFBIG: Errno.FBIG,
    errno.EILSEQ: Errno.ILSEQ,
    errno.EINVAL: Errno.INVAL,
    errno.EISDIR: Errno.ISDIR,
    errno.ELOOP: Errno.LOOP,
    errno.EMFILE: Errno.MFILE,
    errno.EMLINK: Errno.MLINK,
    errno.ENAMETOOLONG: Errno.NAMETOOLONG,
    errno.ENFILE: Errno.MFILE,
    errno.ENOENT: Errno.NOENT,
    errno.ENOMEM: Errno.NOMEM,
    errno.ENOSPC: Errno.NOSPC,
    errno.ENOTDIR: Errno.NOTDIR,
    errno.ENOTEMPTY: Errno.NOTEMPTY,
    errno.ENOTSUP: Errno.NOTSUP,
    errno.ENXIO: Errno.NXIO,
    errno.EOVERFLOW: Errno.OVERFLOW,
    errno.EPERM: Errno.PERM,
    errno.EROFS: Errno.ROFS,
    errno.ETXTBSY: Errno.TXTBSY,
    errno.EXDEV: Errno.XDEV,
}


def translate(error: OSError) -> WasiError:
    """Return the answer for what the system says."""
    return WasiError(_OF_THE_SYSTEM.get(error.errno or 0, Errno.IO))


@contextmanager
def translated() -> Iterator[None]:
    """Raise WasiError for what the system refuses in the block."""
    try:
        yield
    except OSError as error:
        raise translate(error) from None
