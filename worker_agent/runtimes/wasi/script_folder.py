"""The folder of an interpreter: a few files in memory that only its guest sees, and nothing can change."""

import io
from collections.abc import Mapping
from typing import cast

from worker_agent.runtimes.wasi.clocks import RandomSource
from worker_agent.runtimes.wasi.directories import OFFSET_MAX, Directory, DirectoryEntry, OpenMode, Share
from worker_agent.runtimes.wasi.errno import Errno, WasiError
from worker_agent.runtimes.wasi.files import FileType, GuestFile, Rights, Stat

_READ_ONLY = Rights.ALL & ~Rights.FD_WRITE
_RANDOM = frozenset({b"dev/random", b"dev/urandom"})
"""Where libraries look for random numbers that do not ask their host; they stand in no list."""
RANDOM_BYTES = 65_536
"""So many random bytes are read at once."""


class MemoryFile(GuestFile):
    """A file whose bytes are in memory."""

    kind = FileType.REGULAR
    rights = _READ_ONLY

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read_into(self, buffer: memoryview, offset: int | None = None) -> int:
        start = self._place if offset is None else _check_offset(offset)
        part = self._data[start : start + len(buffer)]
        buffer[: len(part)] = part
        if offset is None:
            self._place += len(part)
        return len(part)

    def seek(self, offset: int, whence: int) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._data)}
        if whence not in starts:
            raise WasiError(Errno.INVAL)
        self._place = _check_offset(starts[whence] + offset)
        return self._place

    def check_positions(self) -> None:
        """It has positions."""

    def grow(self, _size: int) -> None:
        raise WasiError(Errno.BADF)

    def stat(self) -> Stat:
        return 2, FileType.REGULAR, 1, len(self._data), 0, 0, 0


class RandomFile(GuestFile):
    """A file that never ends, of random bytes."""

    rights = _READ_ONLY

    def __init__(self, random: RandomSource) -> None:
        self._random = random

    def read_into(self, buffer: memoryview, _offset: int | None = None) -> int:
        part = self._random(min(len(buffer), RANDOM_BYTES))
        buffer[: len(part)] = part
        return len(part)

    def stat(self) -> Stat:
        return 3, FileType.UNKNOWN, 1, 0, 0, 0, 0


class ScriptFolder(Directory):
    """The folder itself, which has no other in it."""

    rights = inheriting = _READ_ONLY
    link_answer = Errno.INVAL
    share = cast("Share", None)
    """It has none: nothing is moved here from a directory that was granted."""

    def __init__(
        self, files: Mapping[bytes, bytes], random: RandomSource, granted_as: bytes | None = b"/"
    ) -> None:
        """Hold files by name."""
        self._files = files
        self._random = random
        self.granted_as = granted_as

    def open(self, path: bytes, how: OpenMode) -> GuestFile:
        if how.write or how.create or how.truncate:
            raise WasiError(Errno.ROFS)
        found = self._find(path)
        if how.directory and not isinstance(found, Directory):
            raise WasiError(Errno.NOTDIR)
        return found

    def stat_path(self, path: bytes, *, follow: bool) -> Stat:  # noqa: ARG002  # there are no links
        found = self._find(path).stat()
        assert found is not None
        return found

    def stat(self) -> Stat:
        return 1, FileType.DIRECTORY, 1, 0, 0, 0, 0

    def list_entries(self, *, anew: bool) -> list[DirectoryEntry]:  # noqa: ARG002  # it never changes
        return [DirectoryEntry(name, 2, FileType.REGULAR) for name in self._files]

    def make_directory(self, _path: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def remove_directory(self, _path: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def remove_file(self, _path: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def rename(self, _path: bytes, _target: Directory, _new: bytes) -> None:
        raise WasiError(Errno.ROFS)

    def close(self) -> None:
        """There is nothing to close."""

    def _find(self, path: bytes) -> GuestFile:
        name = path.strip(b"/").removeprefix(b"./")
        if name in (b"", b"."):
            return ScriptFolder(self._files, self._random, granted_as=None)
        if name in _RANDOM:
            return RandomFile(self._random)
        if name not in self._files:
            raise WasiError(Errno.NOENT)
        return MemoryFile(self._files[name])


def _check_offset(offset: int) -> int:
    if not 0 <= offset <= OFFSET_MAX:
        raise WasiError(Errno.INVAL)
    return offset
