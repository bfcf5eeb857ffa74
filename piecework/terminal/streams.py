r"""The standard streams of a command: closed, full, left by their reader, or of an encoding that lacks letters.

A command says in one line that its output got lost, and that of nobody who is left to read it, in its exit code
alone. Letters that the encoding has not are written out, as ``\u2026``.
"""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, TextIO, TypeVar

T = TypeVar("T")

FAILED = 1
_MODES = {"stdin": "rb", "stdout": "wb", "stderr": "wb"}
_NAMES = {"stdin": "input", "stdout": "output", "stderr": "error"}


class StreamFailed(Exception):
    """A standard stream does not take, or give, what it should. It is no OSError: click and rich exit by those."""

    def __init__(self, stream: str, error: OSError) -> None:
        reason = "it is closed" if error.errno == errno.EBADF else error.strerror
        super().__init__(f"standard {_NAMES[stream]}: {reason}")
        self.is_left = error.errno == errno.EPIPE
        """Whoever read it has gone, and wants no more."""


@contextmanager
def standard_streams(program: str) -> Iterator[None]:
    """Run a command. What its standard streams do not take ends it with one line, and a fitting exit code."""
    prepare_streams()
    try:
        try:
            yield
        finally:
            sys.stdout.flush()  # the interpreter would say with a traceback that it cannot
    except StreamFailed as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for what it has yet to flush
        if not error.is_left:
            sys.stderr.write(f"{program}: {error}\n")
        sys.exit(FAILED)


def prepare_streams() -> None:
    """Have the standard streams of this process tell by name that they fail; what stderr does not take is dropped.

    Streams that somebody replaced are left alone. Safe to repeat.
    """
    for number, (name, mode) in enumerate(_MODES.items()):
        stream: TextIO | None = getattr(sys, name)
        if stream is None:
            setattr(sys, name, _open(name, _open_useless(mode), mode, "utf-8"))
        elif stream is getattr(sys, f"__{name}__"):
            with suppress(StreamFailed):
                stream.flush()
            setattr(sys, name, _open(name, number, mode, stream.encoding))


def _open(name: str, number: int, mode: str, encoding: str) -> TextIO:
    """Return a standard stream over a descriptor."""
    raw = _Raw(name, number, mode)
    buffer: Any = io.BufferedReader(raw) if mode == "rb" else io.BufferedWriter(raw)
    return io.TextIOWrapper(
        buffer,
        encoding=encoding,
        errors="backslashreplace" if mode == "wb" else None,
        line_buffering=name == "stderr" or raw.isatty(),
    )


def _open_useless(mode: str) -> int:
    """Return a descriptor that fails like one that is closed, and keeps its number from others and their files."""
    return os.open(os.devnull, os.O_WRONLY if mode == "rb" else os.O_RDONLY)


class _Raw(io.FileIO):
    """The bytes of a standard stream."""

    def __init__(self, name: str, number: int, mode: str) -> None:
        super().__init__(number, mode, closefd=False)
        self._stream = name

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if self._stream == "stderr":
                return memoryview(data).nbytes  # nobody can be told
            raise StreamFailed(self._stream, error) from error

    def readinto(self, buffer: Any, /) -> int:
        return self._read(partial(super().readinto, buffer))

    def readall(self) -> bytes:
        return self._read(super().readall)

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except OSError as error:
            raise StreamFailed(self._stream, error) from error
