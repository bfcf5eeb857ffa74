"""What a command is given on its standard input without having asked: it is read, or refused, never dropped."""

import array
import contextlib
import fcntl
import io
import os
import select
import shutil
import stat
import sys
import termios
from collections.abc import Callable
from typing import Any, BinaryIO

from piecework.terminal.streams import StreamFailed

PATIENCE_S = 1.0
"""After so long without a byte somebody is told what is waited for."""
COPY_BYTES = 1024 * 1024
HINT = "waiting for the end of standard input, which is its input; with </dev/null it gets none"


def copy_piped_input(target: BinaryIO, tell: Callable[[str], None]) -> bool:
    """Copy what comes on standard input until it ends, and return whether there was anything.

    Nothing is read from a terminal: that is a person who was not asked. When nothing comes for a second, ``tell``
    is called, once: the other end may be a program that never ends it.
    """
    if sys.stdin is None or sys.stdin.isatty():
        return False
    start = target.tell()
    with contextlib.suppress(StreamFailed):  # it is closed
        shutil.copyfileobj(io.BufferedReader(_PatientInput(tell), COPY_BYTES), target, COPY_BYTES)
    return target.tell() > start


def has_unread_input() -> bool:
    """Tell whether something waits on standard input that is a file or a pipe: without reading it."""
    try:
        descriptor = sys.stdin.fileno()
        kind = os.fstat(descriptor)
        if stat.S_ISREG(kind.st_mode):
            return os.lseek(descriptor, 0, os.SEEK_CUR) < kind.st_size
        if not stat.S_ISFIFO(kind.st_mode):
            return False
        waiting = array.array("i", [0])
        fcntl.ioctl(descriptor, termios.FIONREAD, waiting)
        return waiting[0] > 0
    except (AttributeError, OSError, ValueError):
        return False


class _PatientInput(io.RawIOBase):
    """Standard input, unbuffered."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        buffer: Any = sys.stdin.buffer
        self._source = getattr(buffer, "raw", buffer)
        self._tell: Callable[[str], None] | None = tell

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if self._tell is not None and not self._is_ready():
            self._tell(HINT)
            self._tell = None
        return self._source.readinto(buffer) or 0

    def _is_ready(self) -> bool:
        try:
            return bool(select.select([self._source], [], [], PATIENCE_S)[0])
        except (OSError, ValueError):  # no descriptor, or one that cannot be waited for
            return True
