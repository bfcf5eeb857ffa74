"""What programs find in /dev: no device of the node, but what they take for one."""

from copy import copy
from functools import cached_property

from piecework.worker_agent.runtimes.streams import Bytes
from piecework.worker_agent.runtimes.wasi.clocks import RandomSource
from piecework.worker_agent.runtimes.wasi.errno import Errno, WasiError
from piecework.worker_agent.runtimes.wasi.fs.directories import GuestDirectory
from piecework.worker_agent.runtimes.wasi.fs.files import (
    DirectoryEntry,
    FileType,
    GuestFile,
    OpenMode,
    Rights,
    Stat,
)
from piecework.worker_agent.runtimes.wasi.fs.resolving import split

RANDOM_BYTES = 65_536
"""So many random bytes are read at once."""


class NullFile(GuestFile):
    """It is empty, and takes everything."""

    kind = FileType.CHARACTER_DEVICE
    rights = inheriting = Rights.ALL

    def read_into(self, _buffer: memoryview, _offset: int | None = None) -> int:
        return 0

    def write(self, data: Bytes, _offset: int | None = None) -> int:
        return len(data)

    def seek(self, _offset: int, _whence: int) -> int:
        return 0

    def check_positions(self) -> None:
        """It has any."""

    def stat(self) -> Stat:
        return 1, FileType.CHARACTER_DEVICE, 1, 0, 0, 0, 0


class ZeroFile(NullFile):
    """Zeros without end."""

    def read_into(self, buffer: memoryview, _offset: int | None = None) -> int:
        buffer[:] = bytes(len(buffer))
        return len(buffer)


class RandomFile(NullFile):
    """Random bytes without end."""

    def __init__(self, random: RandomSource) -> None:
        self._random = random

    def read_into(self, buffer: memoryview, _offset: int | None = None) -> int:
        part = self._random(min(len(buffer), RANDOM_BYTES))
        buffer[: len(part)] = part
        return len(part)


class DeviceDirectory(GuestDirectory):
    """The directory /dev. Its streams are those with which the guest began."""

    granted_as: bytes | None = b"/dev"

    def __init__(self, streams: tuple[GuestFile, GuestFile, GuestFile], random: RandomSource) -> None:
        self._streams = streams
        self._random = random

    def open(self, path: bytes, how: OpenMode) -> GuestFile:
        found = self._find(path)
        if how.create and how.exclusive:
            raise WasiError(Errno.EXIST)
        if found is not self:
            if how.directory:
                raise WasiError(Errno.NOTDIR)
            return found
        opened = copy(self)
        opened.granted_as = None
        return opened

    def stat_path(self, path: bytes, *, follow: bool) -> Stat:  # noqa: ARG002  # there are no links
        return self._find(path).stat() or (1, FileType.UNKNOWN, 1, 0, 0, 0, 0)

    def stat(self) -> Stat:
        return 1, FileType.DIRECTORY, 1, 0, 0, 0, 0

    def list_entries(self, *, anew: bool) -> list[DirectoryEntry]:  # noqa: ARG002  # it never changes
        return [DirectoryEntry(name, 1, file.kind) for name, file in self._devices.items()]

    @cached_property
    def _devices(self) -> dict[bytes, GuestFile]:
        stdin, stdout, stderr = self._streams
        source = RandomFile(self._random)
        return {
            b"null": NullFile(),
            b"random": source,
            b"stderr": stderr,
            b"stdin": stdin,
            b"stdout": stdout,
            b"urandom": source,
            b"zero": ZeroFile(),
        }

    def _find(self, path: bytes) -> GuestFile:
        names = split(path)
        if names == [b"."]:
            return self
        found = self._devices.get(names[0])
        if found is None:
            raise WasiError(Errno.NOENT)
        if len(names) > 1 or path.endswith(b"/"):
            raise WasiError(Errno.NOTDIR)
        return found
