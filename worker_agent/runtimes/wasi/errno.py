"""The error numbers of WASI preview 1 that this host answers with (``errno`` in its witx files)."""

from enum import IntEnum


class Errno(IntEnum):
    """What a call answers; 0 is success."""

    SUCCESS = 0
    BADF = 8
    """No such file descriptor is open."""
    FAULT = 21
    """A pointer leads outside the guest's memory."""
    INVAL = 28
    IO = 29
    """The input could not be read."""
    NOSYS = 52
    NOTDIR = 54
    """A path was looked up in something that is no directory."""
    NOTSOCK = 57
    NOTSUP = 58
    SPIPE = 70
    """A stream has no position."""
    NOTCAPABLE = 76
    """The descriptor was not opened for this."""


class WasiError(Exception):
    """Ends a call of the guest with an error number."""

    def __init__(self, errno: Errno) -> None:
        super().__init__(errno.name)
        self.errno = errno
