"""The folder of an interpreter: a few files in memory that only its guest sees, and nothing can change."""

import io
from collections.abc import Mapping

from piecework.worker_agent.runtimes.wasi.clocks import RandomSource
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.devices import RandomFile
from piecework.worker_agent.runtimes.wasi.fs.directories import GuestDirectory
from piecework.worker_agent.runtimes.wasi.fs.files import (
    DirectoryEntry,
    FileType,
    GuestFile,
    OpenMode,
    Rights,
    Stat,
    TimesNs,
    check_offset,
)

_READ_ONLY = Rights.ALL & ~Rights.FD_WRITE
_RANDOM = frozenset({b"dev/random", b"dev/urandom"})
"""Where libraries look for random numbers that do not ask their host; they stand in no list."""


class MemoryFile(GuestFile):
    """A file whose bytes are in memory."""

    kind = FileType.REGULAR
    rights = _READ_ONLY

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read_into(self, buffer: memoryview, offset: int | None = None) -> int:
        start = self._place if offset is None else check_offset(offset)
        part = self._data[start : start + len(buffer)]
        buffer[: len(part)] = part
        if offset is None:
            self._place += len(part)
        return len(part)

    def seek(self, offset: int, whence: int) -> int:
        starts = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: len(self._data)}
        if whence not in starts:
            raise WasiError(Errno.INVAL)
        self._place = check_offset(starts[whence] + offset)
        return self._place

    def check_positions(self) -> None:
        """It has positions."""

    def grow(self, _size: int) -> None:
        raise WasiError(Errno.BADF)

    def stat(self) -> Stat:
        return 2, FileType.REGULAR, 1, len(self._data), 0, 0, 0


class ScriptFolder(GuestDirectory):
    """The directory ``/`` of an interpreter: its own files, and what a directory has that was granted there."""

    rights = inheriting = _READ_ONLY

    def __init__(
        self, files: Mapping[bytes, bytes], random: RandomSource, granted_as: bytes | None = b"/"
    ) -> None:
        """Hold files by name."""
        self._files = files
        self._random = random
        self.granted_as = granted_as
        self._granted: GuestDirectory | None = None

    def show(self, granted: GuestDirectory) -> None:
        """Show what is in a directory, too, which is closed with this one. The own files hide its."""
        self._granted = granted
        self.rights, self.inheriting = granted.rights, granted.inheriting

    def open(self, path: bytes, how: OpenMode) -> GuestFile:
        if (granted := self._find_granted(path)) is not None:
            return granted.open(path, how)
        if how.write or how.create or how.truncate:
            raise WasiError(Errno.ROFS)
        found = self._find(path)
        if how.directory and not isinstance(found, GuestDirectory):
            raise WasiError(Errno.NOTDIR)
        return found

    def stat_path(self, path: bytes, *, follow: bool) -> Stat:
        if (granted := self._find_granted(path)) is not None:
            return granted.stat_path(path, follow=follow)
        found = self._find(path).stat()
        assert found is not None
        return found

    def stat(self) -> Stat | None:
        return (1, FileType.DIRECTORY, 1, 0, 0, 0, 0) if self._granted is None else self._granted.stat()

    def list_entries(self, *, anew: bool) -> list[DirectoryEntry]:
        own = [DirectoryEntry(name, 2, FileType.REGULAR) for name in self._files]
        if self._granted is None:
            return own
        return own + [each for each in self._granted.list_entries(anew=anew) if each.name not in self._files]

    def make_directory(self, path: bytes) -> None:
        self._require_granted(path).make_directory(path)

    def remove_directory(self, path: bytes) -> None:
        self._require_granted(path).remove_directory(path)

    def remove_file(self, path: bytes) -> None:
        self._require_granted(path).remove_file(path)

    def rename(self, path: bytes, target: GuestDirectory, to: bytes) -> None:
        self._require_granted(path).rename(path, _reveal(target, to), to)

    def link(self, path: bytes, target: GuestDirectory, to: bytes) -> None:
        self._require_granted(path).link(path, _reveal(target, to), to)

    def make_link(self, path: bytes, target: bytes) -> None:
        self._require_granted(path).make_link(path, target)

    def read_link(self, path: bytes) -> bytes:
        granted = self._find_granted(path)
        return super().read_link(path) if granted is None else granted.read_link(path)

    def set_path_times(self, path: bytes, times: TimesNs, *, follow: bool) -> None:
        self._require_granted(path).set_path_times(path, times, follow=follow)

    def close(self) -> None:
        if self._granted is not None:
            self._granted.close()

    def _find_granted(self, path: bytes) -> GuestDirectory | None:
        """Return where a path is looked for; None: among the own files."""
        name = _simplify(path)
        return None if name in self._files or name in _RANDOM else self._granted

    def _require_granted(self, path: bytes) -> GuestDirectory:
        granted = self._find_granted(path)
        if granted is None:
            raise WasiError(Errno.ROFS)
        return granted

    def _find(self, path: bytes) -> GuestFile:
        name = _simplify(path)
        if name in (b"", b"."):
            return ScriptFolder(self._files, self._random, granted_as=None)
        if name in _RANDOM:
            return RandomFile(self._random)
        if name not in self._files:
            raise WasiError(Errno.NOENT)
        return MemoryFile(self._files[name])


def _simplify(path: bytes) -> bytes:
    return path.strip(b"/").removeprefix(b"./")


def _reveal(target: GuestDirectory, to: bytes) -> GuestDirectory:
    """Return the directory in which something gets a new name. Raises WasiError for the name of an own file."""
    return target._require_granted(to) if isinstance(target, ScriptFolder) else target  # noqa: SLF001
