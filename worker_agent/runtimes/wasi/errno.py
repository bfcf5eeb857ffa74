"""The error numbers of WASI preview 1 that this host answers with (``errno`` in its witx files)."""

import errno
from enum import IntEnum


class Errno(IntEnum):
    """What a call answers; 0 is success."""

    SUCCESS = 0
    ACCES = 2
    """It is neither a file nor a directory."""
    BADF = 8
    """No such file descriptor is open."""
    DQUOT = 19
    """The guest wrote as much as it may."""
    EXIST = 20
    FAULT = 21
    """A pointer leads outside the guest's memory."""
    INVAL = 28
    IO = 29
    """The input could not be read."""
    ISDIR = 31
    LOOP = 32
    """It is a link, and none is followed."""
    MFILE = 33
    """Too many files are open."""
    NAMETOOLONG = 37
    NOENT = 44
    NOSPC = 51
    NOSYS = 52
    NOTDIR = 54
    """A path was looked up in something that is no directory."""
    NOTEMPTY = 55
    NOTSOCK = 57
    NOTSUP = 58
    PERM = 63
    ROFS = 69
    """The directory can only be read."""
    SPIPE = 70
    """A stream has no position."""
    XDEV = 75
    NOTCAPABLE = 76
    """The descriptor was not opened for this, or the path leads out of its directory."""


class WasiError(Exception):
    """Ends a call of the guest with an error number."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno


_OF_THE_SYSTEM = {
    errno.EACCES: Errno.ACCES,
    errno.EDQUOT: Errno.NOSPC,
    errno.EEXIST: Errno.EXIST,
    errno.EINVAL: Errno.INVAL,
    errno.EISDIR: Errno.ISDIR,
    errno.ELOOP: Errno.LOOP,
    errno.ENAMETOOLONG: Errno.NAMETOOLONG,
    errno.ENOENT: Errno.NOENT,
    errno.ENOSPC: Errno.NOSPC,
    errno.ENOTDIR: Errno.NOTDIR,
    errno.ENOTEMPTY: Errno.NOTEMPTY,
    errno.EPERM: Errno.PERM,
    errno.EROFS: Errno.ROFS,
    errno.EXDEV: Errno.XDEV,
}


def translate(error: OSError) -> WasiError:
    """Return the answer for what the system says."""
    return WasiError(_OF_THE_SYSTEM.get(error.errno or 0, Errno.IO))
